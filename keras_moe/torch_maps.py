"""Keras' convolution and BatchNorm on PyTorch, of maps as they lie in memory.

A map ``(n, height, width, channels)``, seen as ``(n, channels, height, width)``, is what PyTorch calls
``torch.channels_last`` and computes as it lies. Keras 3.15 copies it to the other format and back before it calls the
kernel of a convolution; on a CPU that takes several times as long as the convolution. Of BatchNorm Keras makes several
operations that go through the whole map each; PyTorch has one.
"""

import typing

import keras
import torch
from keras import ops
from keras.src.backend.torch import nn

from keras_moe.types import Tensor

_keras_conv: typing.Any = getattr(nn, "conv", None)  # a private name of Keras, which a later version may not have
_keras_norm: typing.Any = keras.layers.BatchNormalization.call


def spare_copies(spare: bool = True) -> None:
    """Has Keras' layers compute maps as they lie in memory; with False, as Keras does."""
    if _keras_conv is not None:
        nn.conv = _conv if spare else _keras_conv
    keras.layers.BatchNormalization.call = _norm if spare else _keras_norm


def _is_map(inputs: typing.Any) -> bool:
    """Whether it is a map of real values that nothing records for another runtime: there Keras' own operations go."""
    is_real = isinstance(inputs, torch.Tensor) and inputs.ndim == 4 and not inputs.is_meta
    return is_real and not torch.compiler.is_compiling() and not torch.compiler.is_exporting()


def _conv(
    inputs: Tensor,
    kernel: Tensor,
    strides: typing.Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: typing.Any = 1,
) -> Tensor:
    """``(n, height, width, channels)`` to ``(n, rows, columns, filters)``; all else is left to Keras."""
    if data_format != "channels_last" or not _is_map(inputs):
        return _keras_conv(inputs, kernel, strides, padding, data_format, dilation_rate)
    seen = inputs.contiguous().permute(0, 3, 1, 2)
    outputs = _keras_conv(seen, kernel, strides, padding, "channels_first", dilation_rate)
    return outputs.permute(0, 2, 3, 1)


def _norm(
    self: keras.layers.BatchNormalization, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None
) -> Tensor:
    """BatchNorm over the last axis of a map in float32, without a mask; all else is left to Keras."""
    is_plain = mask is None and self.axis in (-1, 3) and not self.synchronized and not getattr(self, "renorm", False)
    if not (is_plain and _is_map(inputs) and inputs.dtype == torch.float32 and self.compute_dtype == "float32"):
        return _keras_norm(self, inputs, training, mask)
    seen = inputs.contiguous().permute(0, 3, 1, 2)
    scale = ops.convert_to_tensor(self.gamma) if self.scale else None
    offset = ops.convert_to_tensor(self.beta) if self.center else None
    mean, variance = ops.convert_to_tensor(self.moving_mean), ops.convert_to_tensor(self.moving_variance)
    if training and self.trainable:
        outputs, new_mean, inverse = torch.native_batch_norm(seen, scale, offset, None, None, True, 0.0, self.epsilon)
        new_variance = torch.clamp(inverse**-2 - self.epsilon, min=0)  # of these pixels, as Keras has it
        self.moving_mean.assign(mean * self.momentum + new_mean * (1 - self.momentum))
        self.moving_variance.assign(variance * self.momentum + new_variance * (1 - self.momentum))
    else:
        outputs = torch.nn.functional.batch_norm(seen, mean, variance, scale, offset, eps=self.epsilon)
    return outputs.permute(0, 2, 3, 1)
