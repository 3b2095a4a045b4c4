"""The numbers of the LiteRT pipeline, computed by hand: what calibrates, what passes between parts, what is refused."""

import numpy as np
import pytest

from keras_moe.checks import IntegrityError
from keras_moe.export import border
from keras_moe.export.litert import interpreters, parity
from keras_moe.export.litert.calibration import _balanced, _nearest, _with_detours
from keras_moe.export.litert.constants import _rounds_to
from keras_moe.export.litert.integrity import manifest, read_manifest, seal, unseal
from keras_moe.export.quantization.activation_ranges import _loss, best_range

pytestmark = pytest.mark.once


def test_300_images_calibrate_20_of_each_expert_first():
    ran = np.zeros((500, 2), bool)
    ran[:450, 0] = ran[450:, 1] = True
    assert _balanced(ran) == [*range(20), *range(450, 470), *range(20, 280)]


def test_more_experts_than_fit_get_their_20_all_the_same():
    ran = np.repeat(np.eye(20, dtype=bool), 25, axis=0)
    assert _balanced(ran) == [25 * k + i for k in range(20) for i in range(20)]


def test_an_expert_that_few_chose_gets_the_images_that_its_gate_prefers():
    logits = np.array([5, *np.linspace(0, 1, 30), 9], "float32")
    assert _nearest(logits, [0, 31]) == list(range(30, 12, -1))  # 18 beside the two
    assert _nearest(logits, list(range(20))) == []


def test_a_detour_sends_an_image_to_one_more_expert():
    straight, detour = _with_detours([{"images": "a"}], [("b", 1)], experts=3)
    assert (straight["images"], detour["images"]) == ("a", "b")
    np.testing.assert_array_equal(straight["detour"], [[0, 0, 0]])
    np.testing.assert_array_equal(detour["detour"], [[0, 1, 0]])
    assert _with_detours([{"images": "a"}], [], experts=3) == [{"images": "a"}]


def test_a_range_holds_zero():
    assert best_range(np.array([2.0, 3.0]), factors=(1.0,)) == (0, 3)
    assert best_range(np.array([-3.0, -2.0]), factors=(1.0,)) == (-3, 0)


def test_a_range_has_255_steps():
    """Of 1 each: 1 is hit, 254.6 is 0.4 away from 255, 300 is 45 beyond it."""
    assert _loss(np.array([1.0, 254.6]), 0.0, 255.0) == pytest.approx(0.16 / 2)
    assert _loss(np.array([300.0]), 0.0, 255.0) == pytest.approx(45**2)


INT8 = {"dtype": "int8", "scale": 0.5, "zero_point": 3}


def test_integers_at_the_border():
    """Step 0.5, zero at 3; what lies outside -65.5…62 ends at the nearest integer there is."""
    found = border.quantized(np.array([0.0, 1.0, -1.1, 99.0, -99.0]), INT8)
    np.testing.assert_array_equal(found, [3, 5, 1, 127, -128])
    assert found.dtype == np.int8
    back = border.dequantized(found, INT8)
    np.testing.assert_array_equal(back, [0, 1, -1, 62, -65.5])
    assert back.dtype == np.float32


def test_nan_is_no_integer():
    with pytest.raises(ValueError, match="'route' holds NaN"):
        border.quantized(np.array([0.0, np.nan]), {"name": "route", **INT8})


class Part:
    """A part that returns what it was made with."""

    def __init__(self, **outputs):
        self.outputs, self.ran = outputs, 0

    def shape(self, name):
        return (1, 2)

    def __call__(self, tensors):
        self.ran, self.given = self.ran + 1, tensors
        return {name: np.float32(value) for name, value in self.outputs.items()}


@pytest.mark.parametrize(("route", "combined"), [([0.5, 0.0, 2.0], [[200.5, 1.0]]), ([0.0, 0.0, 0.0], [[0.0, 0.0]])])
def test_parts_weigh_the_chosen_experts_and_run_no_others(route, combined):
    experts = [Part(output=[[1, 2]]), Part(output=[[10, 20]]), Part(output=[[100, 0]])]
    parts = {"trunk": Part(features=[[1.0]]), "router": Part(route=[route]), "head": Part(prediction=[[7.0]])}
    prediction, found = interpreters.run(parts | {f"expert_{k}": e for k, e in enumerate(experts)}, np.zeros(1))
    np.testing.assert_array_equal(parts["head"].given["combined"], combined)
    assert [expert.ran for expert in experts] == [int(weight != 0) for weight in route]
    assert (prediction.tolist(), found.tolist()) == ([[7.0]], np.float32([route]).tolist())


def test_float32_bytes_that_round_to_float16_bytes():
    def data(values, dtype):
        return np.array(values, dtype).view("uint8")

    assert _rounds_to(data([1.0001, 1e6], "float32"), data([1.0, 65504.0], "float16"))
    assert not _rounds_to(data([1.0001, 2.0], "float32"), data([1.0, 3.0], "float16"))
    assert not _rounds_to(data([1.0], "float32"), data([1.0, 1.0], "float16"))
    assert not _rounds_to(None, data([1.0], "float16"))


def test_images_are_judged_by_their_error_and_classes_by_agreement():
    parity.check({"images": 9, "prediction_agreement": 0.0, "relative_error": 0.1}, "int8", scores=False)
    with pytest.raises(parity.ParityError, match="relative_error"):
        parity.check({"images": 9, "prediction_agreement": 1.0, "relative_error": 0.11}, "int8", scores=False)
    parity.check({"images": 9, "prediction_agreement": 0.9, "relative_error": 0.2}, "int8", scores=True)
    with pytest.raises(parity.ParityError, match="prediction_agreement"):
        parity.check({"images": 9, "prediction_agreement": 0.89, "relative_error": 0.2}, "int8", scores=True)
    with pytest.raises(parity.ParityError, match="relative_error"):
        parity.check({"images": 9, "prediction_agreement": 1.0, "relative_error": float("nan")}, None, scores=True)


def test_sealing():
    model = bytes(4) + b"TFL3" + bytes(range(100))
    sealed = seal(model, {"labels.txt": b"a\nb"})
    assert sealed.startswith(model)
    assert sealed == seal(model, {"labels.txt": b"a\nb"})
    assert unseal(sealed, "x") == {"labels.txt": b"a\nb"}


def test_comparing():
    expected, route = np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([[0.7, 0.3], [0.0, 1.0]])
    other, moved = np.array([[0.4, 0.6], [0.2, 0.8]]), np.array([[0.7, 0.0], [0.0, 0.9]])
    found = parity.compare(other, moved, expected, route, scores=True)
    assert found["images"] == 2
    assert found["max_error"] == pytest.approx(0.1)
    assert found["mean_error"] == pytest.approx(0.05)
    assert (found["prediction_agreement"], found["routing_agreement"], found["same_main_expert"]) == (0.5, 0.5, 1.0)
    with pytest.raises(parity.ParityError, match="Nothing was written"):
        parity.check(found, "int8", scores=True)
    parity.check({"images": 2, "prediction_agreement": 1.0}, None, scores=True)


def test_the_error_is_that_of_images_with_the_same_experts():
    """The second image took another expert, the third, which took the first expert, took none: of the first image, 0.1
    of a sum of 1.0.
    """
    route, moved = np.float32([[1, 0, 0], [1, 0, 0], [1, 0, 0]]), np.float32([[0.5, 0, 0], [0, 1, 0], [0, 0, 0]])
    ours, theirs = np.array([[0.6, 0.5], [9, 0], [9, 0]]), np.array([[0.5, 0.5], [0, 1], [0, 1]])
    found = parity.compare(ours, moved, theirs, route, scores=True)
    assert found["relative_error"] == pytest.approx(0.1)
    assert (found["routing_agreement"], found["same_main_expert"]) == pytest.approx((1 / 3, 1 / 3))


def test_a_manifest_reads_as_it_was_written():
    assert read_manifest(manifest({"parts": [{"name": "trunk"}]}), "x") == {"parts": [{"name": "trunk"}]}


@pytest.mark.parametrize("at", [0, 20, -40, -1])
def test_a_sealed_file_with_one_other_bit_is_refused(at):
    data = bytearray(seal(bytes(4) + b"TFL3" + bytes(99), {"labels.txt": b"one"}))
    assert unseal(bytes(data), "x") == {"labels.txt": b"one"}
    data[at] ^= 1
    with pytest.raises(IntegrityError, match="x is truncated, altered"):
        unseal(bytes(data), "x")
