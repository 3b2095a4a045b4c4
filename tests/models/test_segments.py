"""Inference on PyTorch in traces predicts what the layers predict, whatever changes in between."""

import keras
import numpy as np
import pytest
from descriptors import MODELS, tiny_classifier

from keras_moe.models import HydraNet, upcycle

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's traces", allow_module_level=True)

from keras_moe.graph.calls import Call
from keras_moe.layers import torch_traces
from keras_moe.layers.torch_traces import _SHAPES, Trace, Traced
from keras_moe.models.segments import SegmentedModel

RNG = np.random.default_rng(0)
CALLS = 2


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(torch_traces, "_CALLS", CALLS)


def images(model, n=3):
    return RNG.uniform(0, 255, (n, *model.input_shape[1:])).astype("float32")


def traced(model):
    """Predicts until the traces are there, and tells what each step of the model is."""
    for _ in range(1 + CALLS):
        model.predict_on_batch(images(model))
    kinds = []
    for step in model._segments.steps:
        kinds += [step.layer.name] if isinstance(step, Call) else map(type, step.traces(step.layer).values())
    return kinds


def check(model):
    """Whatever was traced of other images, these are predicted as by the layers themselves."""
    for n in (1, 4):
        x = images(model, n)
        expected = keras.ops.convert_to_numpy(model(x, training=False))
        np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("described", MODELS, ids=lambda described: described.name)
def test_every_model_predicts_as_its_layers(described):
    model = described.create()
    traced(model)
    check(model)


def test_all_but_the_bank_is_traced():
    assert traced(HydraNet.from_classifier(tiny_classifier(), "relu0", 3)) == [Trace, "branches", Trace]
    assert traced(upcycle(tiny_classifier(), system="single_gated", num_experts=2)) == [Trace, "experts", Trace]


def test_new_weights_thresholds_and_layers_take_effect():
    model = upcycle(tiny_classifier(), system="single_gated", num_experts=2)
    traced(model)
    model.set_weights([RNG.normal(size=w.shape) for w in model.get_weights()])
    check(model)
    for threshold in (0.0, 0.5, None):
        model.threshold = threshold
        check(model)
    dense = next(layer for layer in model.get_layer("tail").layers if isinstance(layer, keras.layers.Dense))
    before = model.predict_on_batch(images(model))
    dense.activation = keras.activations.softplus
    check(model)
    dense.enable_lora(1)
    check(model)
    assert before.shape == (3, *model.output_shape[1:])


class Bright(keras.layers.Layer):
    """A layer of a user's own, in which Python decides by what it sees."""

    def call(self, x):
        return x + 1 if float(keras.ops.max(x)) > 100 else x - 1

    def compute_output_shape(self, shape):
        return shape


def test_what_decides_by_values_is_not_traced():
    x = keras.Input((2,))
    hidden = keras.layers.Dense(2, kernel_initializer="identity", name="first")(x)
    bright = Bright(name="bright")
    outputs = keras.layers.Dense(2, kernel_initializer="identity", name="last")(bright(hidden))
    steps = SegmentedModel(keras.Model(x, outputs)).steps
    assert [step.layer.name if isinstance(step, Call) else "" for step in steps] == ["", "bright", ""]
    import torch

    layer = Traced(bright)  # as an expert
    with torch.no_grad():
        for _ in range(CALLS + 1):
            assert layer(torch.ones(2, 2)).tolist() == [[0, 0], [0, 0]]
        assert layer(torch.full((1, 2), 200.0)).tolist() == [[201, 201]]


def test_an_activation_of_a_user_is_not_traced():
    import torch

    layer = Traced(keras.layers.Dense(2, activation=Bright().call, kernel_initializer="identity"))
    with torch.no_grad():
        for _ in range(CALLS + 1):
            assert layer(torch.ones(2, 2)).tolist() == [[0, 0], [0, 0]]
        assert layer(torch.full((1, 2), 200.0)).tolist() == [[201, 201]]


def test_a_trace_is_not_made_under_autocast():
    import torch

    layer, x = Traced(keras.layers.Dense(2, kernel_initializer="ones")), torch.full((1, 3), 1.001)
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            coarse = [layer(x) for _ in range(CALLS + 1)][-1]
        fine = [layer(x) for _ in range(CALLS + 1)][-1]
    assert coarse[0, 0] == 3  # bfloat16 has three digits
    assert fine[0, 0] == pytest.approx(3.003)


class Own(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def test_what_is_called_as_it_is_does_not_train():
    x = keras.Input((4, 4, 3))
    flipped = keras.layers.RandomBrightness(0.9, value_range=(0, 255))(x)  # trains unless it is told not to
    normed = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(2, 3)(flipped))
    own = Own(name="own")(keras.layers.Dropout(0.9)(normed))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 1, name="conv")(own))
    model = upcycle(keras.Model(x, keras.layers.Dense(3)(pooled)), num_experts=2, split_at="conv")
    assert any(isinstance(step, Call) for step in SegmentedModel(model).steps[:1]), "the trunk has a layer of a user's"
    before = model.get_weights()
    traced(model)
    check(model)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_traces_of_few_shapes_are_kept():
    import torch

    layer = Traced(keras.layers.Rescaling(2.0))
    with torch.no_grad():
        for size in range(1, 3 * _SHAPES):
            for _ in range(CALLS):
                assert layer(torch.ones(1, size)).tolist() == [[2.0] * size]
    assert 0 < len(layer.traces(layer.layer)) <= _SHAPES + 1


@pytest.mark.parametrize("shape", [(2, 8), (2, 16, 16, 3), (2, 8, 8, 1)])
def test_images_of_another_shape_are_refused_by_keras(shape):
    model = HydraNet.from_classifier(tiny_classifier(), "relu0", 2)
    with pytest.raises(ValueError, match=r"[Ee]xpected shape|expected axis -1 .* to have value 3"):
        model.predict_on_batch(np.zeros(shape, "float32"))
