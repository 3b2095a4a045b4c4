"""Keras' operations on maps on PyTorch, as the maps lie in memory.

A map ``(n, height, width, channels)``, seen as ``(n, channels, height, width)``, is what PyTorch calls
``torch.channels_last`` and computes as it lies. Keras 3.15 copies it to the other format and back before it calls the
same kernel; on a CPU that takes several times as long as the convolution. A convolution of single pixels is a product
of matrices, and BatchNorm with given statistics one operation instead of six.
"""

import typing

import torch
from keras.src.backend.torch import nn

from keras_moe.types import Tensor

_KERAS: typing.Any = {"conv": nn.conv, "batch_normalization": nn.batch_normalization}


def spare_copies(spare: bool = True) -> None:
    """Has Keras' layers compute maps as they lie in memory; with False, as Keras does."""
    ours = {"conv": _conv, "batch_normalization": _batch_normalization}
    for name, operation in (ours if spare else _KERAS).items():
        setattr(nn, name, operation)


def _conv(
    inputs: Tensor,
    kernel: Tensor,
    strides: typing.Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: typing.Any = 1,
) -> Tensor:
    """``(n, height, width, channels)`` to ``(n, rows, columns, filters)``; all else is left to Keras."""
    if not _is_map(inputs) or data_format != "channels_last":
        return _KERAS["conv"](inputs, kernel, strides, padding, data_format, dilation_rate)
    if tuple(kernel.shape[:3]) == (1, 1, inputs.shape[-1]) and strides in (1, (1, 1)):
        return torch.matmul(inputs, kernel[0, 0])
    seen = inputs.contiguous().permute(0, 3, 1, 2)
    outputs = _KERAS["conv"](seen, kernel, strides, padding, "channels_first", dilation_rate)
    return outputs.permute(0, 2, 3, 1)


def _batch_normalization(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    axis: int,
    offset: Tensor | None = None,
    scale: Tensor | None = None,
    epsilon: float = 1e-3,
) -> Tensor:
    """With statistics that need no gradient, of maps whose channels come last; all else is left to Keras."""
    statistics = [t for t in (mean, variance, offset, scale) if t is not None]
    plain = _is_map(x) and axis in (-1, 3) and all(isinstance(t, torch.Tensor) for t in statistics)
    if not plain or mean.requires_grad or variance.requires_grad or any(t.dtype != x.dtype for t in statistics):
        return _KERAS["batch_normalization"](x, mean, variance, axis, offset, scale, epsilon)
    seen = x.permute(0, 3, 1, 2)
    return torch.nn.functional.batch_norm(seen, mean, variance, scale, offset, eps=epsilon).permute(0, 2, 3, 1)


def _is_map(x: typing.Any) -> bool:
    """Whether ``x`` has four axes and is not recorded for another runtime, which wants Keras' own operations."""
    return isinstance(x, torch.Tensor) and x.ndim == 4 and not torch.compiler.is_compiling()
