"""What PyTorch computes of maps as they lie in memory is what Keras computes."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from test_depthwise import FORMS

torch = pytest.importorskip("torch") if keras.backend.backend() == "torch" else None
if torch is None:
    pytest.skip("PyTorch's operations", allow_module_level=True)

from keras_moe.torch_maps import spare_copies  # noqa: E402

RNG = np.random.default_rng(0)


def as_keras(run):
    spare_copies(False)
    try:
        return run()
    finally:
        spare_copies()


@pytest.mark.parametrize(("size", "kernel", "strides", "padding", "dilation"), FORMS)
@pytest.mark.parametrize("operation", ["conv", "depthwise_conv"])
def test_convolutions_are_keras_own(operation, size, kernel, strides, padding, dilation):
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    channels = (3, 4) if operation == "conv" else (3, 1)
    x = torch.tensor(RNG.normal(size=(2, *size, 3)), dtype=torch.float32, requires_grad=True)
    kernel = torch.tensor(RNG.normal(size=(*kernel, *channels)), dtype=torch.float32, requires_grad=True)

    def run():
        y = getattr(ops, operation)(x, kernel, strides, padding, "channels_last", dilation)
        return y.detach(), *torch.autograd.grad((y**2).sum(), [x, kernel])

    ours, theirs = run(), as_keras(run)
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert ours[0].is_contiguous()


def test_kernels_of_numpy_are_taken():
    ones = torch.ones(1, 2, 2, 3)
    assert ops.convert_to_numpy(ops.conv(ones, np.ones((1, 1, 3, 1), "float32"))).ravel().tolist() == [3.0] * 4


def test_other_convolutions_are_left_to_keras():
    x, kernel = np.ones((1, 2, 5, 5), "float32"), np.ones((3, 3, 2, 1), "float32")
    first = ops.conv(x, kernel, data_format="channels_first")
    assert first.shape == (1, 1, 3, 3)
    assert set(ops.convert_to_numpy(first).ravel()) == {18}
    assert ops.conv(np.ones((1, 5, 2)), np.ones((3, 2, 1))).shape == (1, 3, 1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"scale": False}, {"center": False}, {"trainable": False}, {"epsilon": 0.1, "momentum": 0.5}, {"axis": 3}],
)
def test_norms_are_keras_own(options, training):
    x = torch.tensor(RNG.normal(2, 3, (4, 5, 6, 3)), dtype=torch.float32, requires_grad=True)

    def run():
        norm = layers.BatchNormalization(**options)
        norm.build(x.shape)
        norm.set_weights([np.linspace(0.5, 2, 3) + i for i, _ in enumerate(norm.weights)])
        y = norm(x, training=training)
        learned = [variable.value for variable in norm.trainable_variables]
        return y.detach(), *norm.get_weights(), *torch.autograd.grad((y**2 * x.detach()).sum(), [x, *learned])

    for found, expected in zip(run(), as_keras(run), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_norm_by_hand():
    norm = layers.BatchNormalization(epsilon=1.0, momentum=0.75)
    x = torch.tensor([[[[1.0], [5.0]]]])  # mean 3, variance 4
    np.testing.assert_allclose(norm(x, training=True).detach().ravel(), [-2 / 5**0.5, 2 / 5**0.5], rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(norm.moving_mean), [0.75], rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(norm.moving_variance), [0.75 + 1.0], rtol=1e-6)
    assert norm(x).is_contiguous()


@pytest.mark.parametrize("shape", [(4, 3), (4, 5, 3), (2, 3, 5, 6)])
def test_other_norms_are_left_to_keras(shape):
    x = torch.tensor(RNG.normal(2, 3, shape), dtype=torch.float32)
    axis = 1 if len(shape) == 4 else -1

    def run():
        return layers.BatchNormalization(axis=axis)(x, training=True).detach()

    np.testing.assert_array_equal(run(), as_keras(run))
