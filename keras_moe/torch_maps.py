"""Keras' convolution on PyTorch, of maps as they lie in memory.

A map ``(n, height, width, channels)``, seen as ``(n, channels, height, width)``, is what PyTorch calls
``torch.channels_last`` and computes as it lies. Keras 3.15 copies it to the other format and back before it calls the
same kernel; on a CPU that takes several times as long as the convolution. A convolution of single pixels is a product
of matrices.
"""

import typing

import torch
from keras.src.backend.torch import nn

from keras_moe.types import Tensor

_keras_conv: typing.Any = getattr(nn, "conv", None)  # a private name of Keras, which a later version may not have


def spare_copies(spare: bool = True) -> None:
    """Has Keras' layers convolve maps as they lie in memory; with False, as Keras does."""
    if _keras_conv is not None:
        nn.conv = _conv if spare else _keras_conv


def _conv(
    inputs: Tensor,
    kernel: Tensor,
    strides: typing.Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: typing.Any = 1,
) -> Tensor:
    """``(n, height, width, channels)`` to ``(n, rows, columns, filters)``; all else is left to Keras."""
    is_map = isinstance(inputs, torch.Tensor) and inputs.ndim == 4 and data_format == "channels_last"
    # What is recorded for another runtime is made of Keras' own operations.
    if not is_map or torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return _keras_conv(inputs, kernel, strides, padding, data_format, dilation_rate)
    if tuple(kernel.shape[:3]) == (1, 1, inputs.shape[-1]) and strides in (1, (1, 1)):
        return torch.matmul(inputs, kernel[0, 0])
    seen = inputs.contiguous().permute(0, 3, 1, 2)
    outputs = _keras_conv(seen, kernel, strides, padding, "channels_first", dilation_rate)
    return outputs.permute(0, 2, 3, 1)
