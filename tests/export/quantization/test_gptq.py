"""Rounding that keeps a layer's outputs, not its weights."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_moe.export.quantization.activation_ranges import best_range
from keras_moe.export.quantization.gptq import round_kernel, rounded
from keras_moe.graph import open_graph

on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports run on TensorFlow")
KERNEL = np.array([[1.27], [0.014], [0.014]], "float32")  # its step is 0.01


def test_independent_inputs_are_rounded_to_the_nearest_step():
    np.testing.assert_allclose(round_kernel(KERNEL, np.eye(3)), [[1.27], [0.01], [0.01]], rtol=1e-6)


def test_errors_of_inputs_that_vary_together_do_not_add_up():
    """0.014 + 0.014 is nearer to 0.01 + 0.02 than to 0.01 + 0.01: the second makes up for the first."""
    np.testing.assert_allclose(round_kernel(KERNEL, np.ones((3, 3))), [[1.27], [0.01], [0.02]], rtol=1e-6)


def test_the_grid_stays():
    rng = np.random.default_rng(0)
    kernel, x = rng.normal(size=(3, 3, 4, 5)).astype("float32"), rng.normal(size=(99, 36)) + 1
    found = round_kernel(kernel, x.T @ x).reshape(36, 5)
    largest = np.abs(kernel).max((0, 1, 2))
    np.testing.assert_allclose(np.abs(found).max(0), largest, rtol=1e-6)
    steps = found / largest * 127
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    nearest = np.rint(kernel.reshape(36, 5) / largest * 127) * largest / 127
    wanted = x @ kernel.reshape(36, 5)
    assert np.square(x @ found - wanted).sum() < 0.5 * np.square(x @ nearest - wanted).sum()
    np.testing.assert_array_equal(round_kernel(np.zeros((2, 1)), np.zeros((2, 2))), np.zeros((2, 1)))


@on_tensorflow
def test_weights_come_back_whatever_happens():
    images = keras.Input((6, 6, 2), batch_size=1)
    x = layers.Conv2D(3, 3, 2, "same", dilation_rate=1)(images)
    x = layers.DepthwiseConv2D(3)(layers.Conv2D(4, 2, groups=1)(layers.ZeroPadding2D()(x)))
    model = keras.Model(images, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    before, rng = model.get_weights(), np.random.default_rng(0)
    samples = [[rng.random((1, 6, 6, 2), "float32")] for _ in range(3)]
    with rounded(open_graph(model), samples):
        changed = [not np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True)]
    assert changed == [True, False, True, False, False, False, True, False]  # kernels, but not the depthwise one
    with pytest.raises(KeyError), rounded(open_graph(model), samples):
        raise KeyError
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


@on_tensorflow
def test_a_kernel_with_lora_is_left_alone():
    x = keras.Input((4,), batch_size=1)
    layer = layers.Dense(3)
    model = keras.Model(x, layer(x))
    layer.enable_lora(2)
    before = layer.get_weights()
    with rounded(open_graph(model), [[np.ones((1, 4), "float32")]]):
        for ours, theirs in zip(layer.get_weights(), before, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@on_tensorflow
def test_layers_of_equal_names_are_rounded_each():
    def network(name):
        x = keras.Input((6, 6, 2))
        return keras.Model(x, layers.Conv2D(2, 3, name="conv")(x), name=name)

    images = keras.Input((6, 6, 2), batch_size=1)
    model = keras.Model(images, layers.Add()([network("left")(images), network("right")(images)]))
    before, rng = model.get_weights(), np.random.default_rng(0)
    with rounded(open_graph(model), [[rng.random((1, 6, 6, 2), "float32")]]):
        for (ours, theirs), kernel in zip(zip(model.get_weights(), before, strict=True), [1, 0, 1, 0], strict=True):
            assert np.array_equal(ours, theirs) == (not kernel)


def test_ranges_clip_what_is_rare():
    even = np.linspace(-1, 1, 1001)
    assert best_range(even) == (-1, 1)
    assert best_range(np.append(even[500:], 1.5))[0] == 0
    assert 1 <= best_range(np.append(np.tile(even, 500), [2.0, -2.0]))[1] < 1.3  # finer steps, for two values
    assert best_range(np.append(np.tile(even, 500), [2.0, -2.0]), factors=(1.0,)) == (-2, 2)
    assert best_range(np.zeros(3)) == (0, 0)
