"""Convolutions on JAX are those of XLA, and so are their gradients."""

import keras
import numpy as np
import pytest
from keras import ops
from test_depthwise import FORMS

if keras.backend.backend() != "jax":
    pytest.skip("JAX's operations", allow_module_level=True)

import jax
import jax.numpy as jnp

from keras_moe.jax_maps import depthwise, multiply_pixels

RNG = np.random.default_rng(0)


def gradients(convolve, x, kernel):
    """The output of a convolution, and its gradients."""
    y = convolve(x, kernel)
    weights = jnp.sin(jnp.arange(y.size, dtype="float32")).reshape(y.shape)
    return y, *jax.grad(lambda *args: jnp.sum(convolve(*args) * weights), (0, 1))(x, kernel)


def check(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_sum_of_slices_by_hand():
    x = jnp.arange(1.0, 10.0).reshape(1, 3, 3, 1)
    kernel = jnp.ones((3, 3, 1, 1))
    same = depthwise(x, kernel, (2, 2), "same", (1, 1))[0, :, :, 0]
    assert same.tolist() == [[1 + 2 + 4 + 5, 2 + 3 + 5 + 6], [4 + 5 + 7 + 8, 5 + 6 + 8 + 9]]
    assert depthwise(x, kernel, (1, 1), "valid", (1, 1)).ravel().tolist() == [45]


def test_low_precision_is_summed_in_float32():
    x = np.concatenate([[2048.0], np.ones(8)]).reshape(1, 3, 3, 1)  # in float16, 2048 + 1 is 2048
    found = depthwise(ops.cast(x, "float16"), ops.ones((3, 3, 1, 1), "float16"), (1, 1), "valid", (1, 1))
    assert keras.backend.standardize_dtype(found.dtype) == "float16"
    assert ops.convert_to_numpy(found).item() == 2056


def test_integers_lose_nothing():
    x, kernel = jnp.array([[[[3, 4]]]], "uint8"), jnp.array([0.5, -1.0]).reshape(1, 1, 2, 1)
    assert depthwise(x, kernel, (1, 1), "valid", (1, 1)).ravel().tolist() == [1.5, -4.0]


@pytest.mark.parametrize(("size", "kernel", "strides", "padding", "dilation"), FORMS)
def test_depthwise_is_that_of_xla(size, kernel, strides, padding, dilation):
    kernel, strides, dilation = ((k, k) if isinstance(k, int) else k for k in (kernel, strides, dilation))
    x, k = (jnp.asarray(RNG.normal(size=shape), "float32") for shape in ((2, *size, 3), (*kernel, 3, 1)))

    def theirs(x, k):
        turned = k.transpose(0, 1, 3, 2)
        return jax.lax.conv_general_dilated(
            x, turned, strides, padding.upper(), None, dilation, ("NHWC", "HWIO", "NHWC"), feature_group_count=3
        )

    check(gradients(lambda x, k: depthwise(x, k, strides, padding, dilation), x, k), gradients(theirs, x, k))


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("filters", [1, 4])
def test_pixels_are_multiplied_as_they_are_convolved(strides, filters):
    x, k = (jnp.asarray(RNG.normal(size=shape), "float32") for shape in ((2, 4, 5, 3), (1, 1, 3, filters)))

    def run():
        return gradients(lambda x, k: ops.conv(x, k, strides, "same", "channels_last"), x, k)

    ours = run()
    multiply_pixels(False)
    theirs = run()
    multiply_pixels()
    check(ours, theirs)


def test_a_layer_of_single_pixels_is_a_product():
    layer = keras.layers.Conv2D(4, 1)
    layer.build((None, 5, 5, 3))
    computed = str(jax.make_jaxpr(layer)(jnp.ones((2, 5, 5, 3))))
    assert "dot_general" in computed
    assert "conv_general" not in computed


def test_other_convolutions_are_left_to_keras():
    x, kernel = np.ones((1, 2, 5, 5), "float32"), np.ones((1, 1, 2, 1), "float32")
    assert ops.convert_to_numpy(ops.conv(x, kernel, data_format="channels_first")).ravel().tolist() == [2] * 25
    grouped = ops.conv(np.ones((1, 2, 2, 4)), np.ones((1, 1, 2, 2)), data_format="channels_last")
    assert ops.convert_to_numpy(grouped).ravel().tolist() == [2] * 8
