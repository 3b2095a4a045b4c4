"""The depthwise layer computes as Keras' own, whatever computes it."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_moe.layers import DepthwiseConv2D
from keras_moe.layers.depthwise import _sum_of_slices

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


def test_sum_of_slices_by_hand():
    x = ops.reshape(ops.arange(1.0, 10.0, dtype="float32"), (1, 3, 3, 1))
    kernel = ops.ones((3, 3, 1, 1))
    same = ops.convert_to_numpy(_sum_of_slices(x, kernel, (2, 2), "same", (1, 1)))[0, :, :, 0]
    assert same.tolist() == [[1 + 2 + 4 + 5, 2 + 3 + 5 + 6], [4 + 5 + 7 + 8, 5 + 6 + 8 + 9]]
    assert ops.convert_to_numpy(_sum_of_slices(x, kernel, (1, 1), "valid", (1, 1))).ravel().tolist() == [45]


def test_low_precision_is_summed_in_float32():
    x = np.concatenate([[2048.0], np.ones(8)]).reshape(1, 3, 3, 1)  # in float16, 2048 + 1 is 2048
    found = _sum_of_slices(ops.cast(x, "float16"), ops.ones((3, 3, 1, 1), "float16"), (1, 1), "valid", (1, 1))
    assert keras.backend.standardize_dtype(found.dtype) == "float16"
    assert ops.convert_to_numpy(found).item() == 2056


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


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's convolution, from which copies are spared")
@pytest.mark.parametrize(("size", "kernel", "strides", "padding", "dilation"), FORMS)
@pytest.mark.parametrize("operation", ["conv", "depthwise_conv"])
def test_on_pytorch_convolutions_are_keras_own(operation, size, kernel, strides, padding, dilation):
    import torch

    from keras_moe.torch_maps import spare_copies

    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    channels = (3, 4) if operation == "conv" else (3, 1)
    x = torch.tensor(RNG.normal(size=(2, *size, 3)), dtype=torch.float32, requires_grad=True)
    kernel = torch.tensor(RNG.normal(size=(*kernel, *channels)), dtype=torch.float32, requires_grad=True)

    def run():
        y = getattr(ops, operation)(x, kernel, strides, padding, "channels_last", dilation)
        return y.detach(), *torch.autograd.grad((y**2).sum(), [x, kernel])

    ours = run()
    spare_copies(False)
    theirs = run()
    spare_copies()
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert ours[0].is_contiguous()


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's convolution")
def test_on_pytorch_other_convolutions_are_left_to_keras():
    x, kernel = np.ones((1, 2, 5, 5), "float32"), np.ones((3, 3, 2, 1), "float32")
    first = ops.conv(x, kernel, data_format="channels_first")
    assert first.shape == (1, 1, 3, 3)
    assert set(ops.convert_to_numpy(first).ravel()) == {18}
    assert ops.conv(np.ones((1, 5, 2)), np.ones((3, 2, 1))).shape == (1, 3, 1)
