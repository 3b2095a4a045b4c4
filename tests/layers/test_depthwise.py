"""The depthwise layer computes as Keras' own, whatever computes it."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_moe.layers import DepthwiseConv2D

RNG = np.random.default_rng(0)
FORMS = [
    ((7, 5), 3, 1, "same", 1),
    ((8, 9), 3, 2, "same", 1),
    ((9, 8), 5, 2, "same", 1),
    ((8, 8), 5, 2, "valid", 1),
    ((7, 9), (1, 3), 1, "valid", 1),
    ((9, 9), 3, 1, "same", 2),
    ((9, 8), 3, 1, "valid", (2, 1)),
    ((1, 1), 3, 2, "same", 1),
    ((5, 4), 1, 1, "same", 1),
    ((5, 4), 1, 2, "valid", 1),
]


@pytest.mark.parametrize(("size", "kernel", "strides", "padding", "dilation"), FORMS)
def test_answers_as_keras(size, kernel, strides, padding, dilation):
    options = {"padding": padding, "dilation_rate": dilation, "activation": "relu", "data_format": "channels_last"}
    theirs = layers.DepthwiseConv2D(kernel, strides, **options)
    x = RNG.normal(size=(2, *size, 3)).astype("float32")
    theirs.build(x.shape)
    ours = DepthwiseConv2D.from_config(theirs.get_config())
    ours.build(x.shape)
    ours.set_weights([theirs.kernel, RNG.normal(size=3)])
    theirs.set_weights(ours.get_weights())
    expected = ops.convert_to_numpy(theirs(x))
    found = ops.convert_to_numpy(ours(x))
    assert found.shape == tuple(ours.compute_output_shape(x.shape))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_another_layout_is_refused():
    with pytest.raises(ValueError, match="`data_format` must be 'channels_last'"):
        DepthwiseConv2D(3, data_format="channels_first")


def test_several_outputs_of_a_channel_are_those_of_keras():
    layer = DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)
    layer.build((None, 3, 3, 1))
    layer.set_weights([np.stack([np.ones((3, 3, 1)), 2 * np.ones((3, 3, 1))], axis=-1)])
    assert ops.convert_to_numpy(layer(np.ones((1, 3, 3, 1)))).ravel().tolist() == [9, 18]


def test_it_is_saved_and_reads_channels_last(tmp_path):
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, DepthwiseConv2D(3, 2, "same")(inputs))
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    images = RNG.normal(size=(1, 4, 4, 2))
    np.testing.assert_array_equal(copy.predict(images, verbose=0), model.predict(images, verbose=0))
    assert copy.layers[1].data_format == "channels_last"
