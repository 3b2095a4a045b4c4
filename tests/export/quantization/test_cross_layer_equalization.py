"""Channels scaled to like ranges compute the same."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_moe.export.quantization.cross_layer_equalization import equalized
from keras_moe.export.quantization.gptq import round_kernel, rounded
from keras_moe.graph import open_graph

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports run on TensorFlow")


def samples(*shape, count=4):
    rng = np.random.default_rng(0)
    return [[rng.normal(size=(1, *shape)).astype("float32")] for _ in range(count)]


def chain(*between, last=None):
    images = keras.Input((6, 6, 2), batch_size=1)
    x = layers.Conv2D(3, 3, padding="same")(images)
    for layer in between:
        x = layer(x)
    return keras.Model(images, (last or layers.Conv2D(4, 3))(x))


def test_ranges_are_shared_by_hand():
    """Channels reach 8 and 2, the next kernel weighs them 2 and 8: factors 2 and 1/2 make all four 4."""
    images = keras.Input((1, 1, 1), batch_size=1)
    first, then = layers.Conv2D(2, 1), layers.Conv2D(1, 1)
    model = keras.Model(images, then(layers.ReLU()(first(images))))
    first.set_weights([np.array([[[[8.0, 2.0]]]], "float32"), np.array([0.0, -1.0], "float32")])
    then.set_weights([np.array([[[[2.0], [8.0]]]], "float32"), np.array([5.0], "float32")])
    inputs = [[np.full((1, 1, 1, 1), value, "float32")] for value in (-0.5, 1.0)]
    with equalized(open_graph(model), inputs):  # the second channel's extremes are -2 and 1
        (kernel, bias), (reading, rest) = first.get_weights(), then.get_weights()
    np.testing.assert_allclose(kernel.ravel(), [4, 4])
    np.testing.assert_allclose(bias, [0, -2])
    np.testing.assert_allclose(reading.ravel(), [4, 4])
    np.testing.assert_allclose(rest, [5])
    np.testing.assert_allclose(first.get_weights()[0].ravel(), [8, 2])


@pytest.mark.parametrize(
    "model",
    [
        chain(layers.PReLU(keras.initializers.Constant(0.3), shared_axes=[1, 2])),
        chain(layers.LeakyReLU(0.1), last=layers.Conv2DTranspose(2, 5, 2, "same")),
        chain(layers.Conv2D(5, 1, activation="relu"), layers.Activation("relu")),
        chain(),
    ],
)
def test_the_network_computes_the_same(model):
    model.layers[1].bias.assign([0.5, -3.0, 20.0])
    before, inputs = model.get_weights(), samples(6, 6, 2)
    wanted = model(inputs[0][0])
    with equalized(open_graph(model), inputs):
        assert not np.array_equal(model.get_weights()[0], before[0])
        np.testing.assert_allclose(model(inputs[0][0]), wanted, rtol=1e-4, atol=1e-4)
    with pytest.raises(KeyError), equalized(open_graph(model), inputs):
        raise KeyError
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def _read_twice():
    images = keras.Input((6, 6, 2), batch_size=1)
    x = layers.Conv2D(3, 3)(images)
    return keras.Model(images, layers.Concatenate()([layers.Conv2D(2, 1)(x), layers.Conv2D(2, 1)(x)]))


def _used_twice():
    images, shared = keras.Input((6, 6, 2), batch_size=1), layers.Conv2D(2, 1)
    return keras.Model(images, layers.Conv2D(1, 1)(shared(shared(images))))


def _seen_outside():
    images = keras.Input((6, 6, 2), batch_size=1)
    x = layers.Conv2D(3, 3)(images)
    return keras.Model(images, [x, layers.Conv2D(2, 1)(x)])


@pytest.mark.parametrize(
    "model",
    [
        chain(layers.ReLU(6.0)),
        chain(layers.BatchNormalization()),
        chain(layers.Activation("swish")),
        chain(layers.SeparableConv2D(3, 3)),  # linear, but it mixes channels
        chain(last=layers.Conv2D(3, 3, groups=3)),
        chain(last=layers.DepthwiseConv2D(3)),
        _read_twice(),
        _used_twice(),
        _seen_outside(),
    ],
)
def test_what_may_not_be_scaled_is_left_alone(model):
    before = model.get_weights()
    with equalized(open_graph(model), samples(6, 6, 2)):
        for ours, theirs in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_channels_that_are_never_used_are_left_alone():
    model = chain(layers.ReLU())
    kernel, bias = model.layers[1].get_weights()
    kernel[..., 1], bias[1] = 0, 0
    model.layers[1].set_weights([kernel, bias])
    with equalized(open_graph(model), samples(6, 6, 2)):
        assert np.isfinite(model.get_weights()[0]).all()
        np.testing.assert_array_equal(model.layers[1].kernel[..., 1], 0)


@pytest.mark.parametrize(("size", "stride"), [(9, 4), (5, 2), (3, 3), (2, 3)])
def test_a_transposed_kernel_is_rounded_by_its_outputs(size, stride):
    """Smooth inputs vary together: errors that cancel are worth more than small ones."""
    images = keras.Input((8, 8, 3), batch_size=1)
    layer = layers.Conv2DTranspose(2, size, stride, "same")
    model, rng = keras.Model(images, layer(images)), np.random.default_rng(0)
    inputs = [[np.ones((1, 8, 8, 3), "float32") + 0.1 * rng.normal(size=(1, 8, 8, 3)).astype("float32")] for _ in "abc"]
    kernel, bias = layer.get_weights()
    kernel += rng.normal(0, 0.05, kernel.shape)
    layer.set_weights([kernel, bias])
    wanted, step = model(inputs[0][0]), np.abs(kernel).max((0, 1, 3), keepdims=True) / 127
    with rounded(open_graph(model), inputs):
        ours, found = model(inputs[0][0]), layer.get_weights()[0]
    np.testing.assert_allclose(found / step, np.rint(found / step), atol=1e-3)
    np.testing.assert_allclose(np.abs(found).max((0, 1, 3)), np.abs(kernel).max((0, 1, 3)), rtol=1e-6)
    layer.set_weights([np.rint(kernel / step) * step, bias])
    nearest = model(inputs[0][0])
    assert np.square(ours - wanted).sum() < 0.7 * np.square(nearest - wanted).sum()


def test_a_dilated_transposed_kernel_is_left_alone():
    images = keras.Input((8, 8, 3), batch_size=1)
    model = keras.Model(images, layers.Conv2DTranspose(2, 3, dilation_rate=2)(images))
    before = model.get_weights()[0]
    with rounded(open_graph(model), samples(8, 8, 3)):
        np.testing.assert_array_equal(model.get_weights()[0], before)


def test_a_part_of_a_kernel_keeps_the_step_of_the_whole():
    np.testing.assert_allclose(round_kernel(np.array([[0.014]]), np.eye(1), np.array([0.01])), [[0.01]], rtol=1e-6)
