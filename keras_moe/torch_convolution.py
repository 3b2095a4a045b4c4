"""Keras' convolution on PyTorch without the two copies that it makes of each map.

A map ``(n, height, width, channels)``, seen as ``(n, channels, height, width)``, is what PyTorch calls
``torch.channels_last`` and computes as it lies. Keras 3.15 copies it to the other format and back before it calls the
same kernel. On a CPU that takes several times as long as the convolution.
"""

import typing

import torch
from keras.src.backend.torch import nn

from keras_moe.types import Tensor

_keras_conv: typing.Any = nn.conv


def convolve_in_place() -> None:
    """Has Keras' convolutions of images, depthwise ones included, take a map as it lies in memory."""
    nn.conv = _conv


def _conv(
    inputs: Tensor,
    kernel: Tensor,
    strides: typing.Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: typing.Any = 1,
) -> Tensor:
    """``(n, height, width, channels)`` to ``(n, rows, columns, filters)``; all else is left to Keras."""
    image = isinstance(inputs, torch.Tensor) and inputs.ndim == 4 and data_format == "channels_last"
    if not image or torch.compiler.is_compiling():  # an export, which wants Keras' copies
        return _keras_conv(inputs, kernel, strides, padding, data_format, dilation_rate)
    seen = inputs.contiguous().permute(0, 3, 1, 2)
    return _keras_conv(seen, kernel, strides, padding, "channels_first", dilation_rate).permute(0, 2, 3, 1)
