"""The any-time rules and the ensembler, by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_moe.layers import EarlyExit, Ensembler

# Base probabilities (.5 .5), (.9 .1), (.75 .25); gate probabilities (.8 .2), (.5 .5), (.6 .4).
BASE = np.log(np.array([[0.5, 0.5], [0.9, 0.1], [0.75, 0.25]], "float32"))
GATE = np.log(np.array([[0.8, 0.2], [0.5, 0.5], [0.6, 0.4]], "float32"))
TOP1 = np.array([[1, 0], [0, 1], [1, 0]], "float32")
SOFT = np.array([[0.8, 0.2], [0.5, 0.5], [0.6, 0.4]], "float32")


def leave(layer, route, gate=GATE, base=BASE, **kwargs):
    return ops.convert_to_numpy(layer(*map(ops.convert_to_tensor, (route, gate, base)), **kwargs))


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (None, [[1, 0], [0, 1], [1, 0]]),
        (1.0, [[1, 0], [0, 1], [1, 0]]),
        (0.8, [[1, 0], [0, 0], [1, 0]]),
        (0.6, [[1, 0], [0, 0], [0, 0]]),
        (0.0, [[0, 0], [0, 0], [0, 0]]),
    ],
)
def test_confidence(threshold, expected):
    np.testing.assert_allclose(leave(EarlyExit("confidence", threshold), TOP1), expected, atol=1e-6)


def test_at_one_nobody_leaves_however_sure():
    sure = np.array([[200.0, 0.0]], "float32")  # a probability of exactly 1
    np.testing.assert_array_equal(leave(EarlyExit(), TOP1[:1], GATE[:1], sure), TOP1[:1])


# gate * (1 - confidence): (.4 .1), (.05 .05), (.15 .1).
@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (None, [[0.8, 0.2], [0.5, 0.5], [0.6, 0.4]]),
        (0.07, [[0.8, 0.2], [0, 0], [0.6, 0.4]]),
        (0.12, [[1, 0], [0, 0], [1, 0]]),
        (0.3, [[1, 0], [0, 0], [0, 0]]),
        (1.0, [[0, 0], [0, 0], [0, 0]]),
    ],
)
def test_product(threshold, expected):
    np.testing.assert_allclose(leave(EarlyExit("product", threshold), SOFT), expected, atol=1e-6)


def test_the_threshold_moves_without_compiling_anew():
    inputs = [keras.Input((2,)) for _ in range(3)]
    layer = EarlyExit()
    model = keras.Model(inputs, layer(*inputs))
    assert model.predict([TOP1, GATE, BASE], verbose=0).any()
    layer.threshold = 0.0
    assert not model.predict([TOP1, GATE, BASE], verbose=0).any()
    assert layer.get_config()["threshold"] == 0.0


def test_training_leaves_the_route_alone():
    np.testing.assert_array_equal(leave(EarlyExit(threshold=0.0), TOP1, training=True), TOP1)


@pytest.mark.parametrize("rule", ["confidence", "product"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_broken_number_never_looks_like_an_exit(rule, bad):
    base, route = BASE.copy(), SOFT.copy()
    base[0, 0] = bad
    route[1, 0] = np.nan
    found = leave(EarlyExit(rule, 0.5), route, base=base)
    assert np.isnan(found[:2]).all()
    assert np.isfinite(found[2]).all()


@pytest.mark.parametrize("arguments", [{"rule": "learned"}, {"threshold": 1.5}, {"threshold": "high"}])
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match="EarlyExit"):
        EarlyExit(**arguments)
    layer = EarlyExit()
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        layer.threshold = -0.1


def test_the_average_is_over_whoever_ran():
    base = np.array([[2.0, 4.0], [2.0, 4.0]], "float32")
    experts = np.array([[6.0, 0.0], [0.0, 0.0]], "float32")
    route = np.array([[0, 1, 0], [0, 0, 0]], "float32")
    found = ops.convert_to_numpy(Ensembler()(*map(ops.convert_to_tensor, (base, experts, route))))
    np.testing.assert_allclose(found, [[4, 2], [2, 4]])


def test_a_learned_balance_starts_as_the_average_and_keeps_exits():
    inputs = [ops.convert_to_tensor(a) for a in (np.ones((2, 2)), 3 * np.ones((2, 2)), np.array([[1.0], [0.0]]))]
    inputs[1] = inputs[1] * inputs[2]
    layer = Ensembler(learned=True)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(*inputs)), [[2, 2], [1, 1]])
    layer.log_balance.assign(np.log(3.0))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(*inputs)), [[2.5, 2.5], [1, 1]], rtol=1e-6)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="agree"):
        Ensembler()(np.ones((1, 2)), np.ones((1, 3)), np.ones((1, 1)))
