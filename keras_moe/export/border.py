"""Conversion of values at the inputs and outputs of a LiteRT graph: float outside, perhaps integers inside."""

import typing

import numpy as np

from keras_moe.types import Array

# Name, shape, dtype, scale and zero point: see ``flatbuffer.tensors``.
TensorDetails: typing.TypeAlias = dict[str, typing.Any]


def quantized(array: Array, tensor: TensorDetails) -> Array:
    """``array`` as ``tensor`` (dtype, scale, zero point) holds it; NaN, which no integer is, is a ValueError."""
    if tensor["dtype"] == "float32":
        return np.asarray(array, "float32")
    if np.any(np.isnan(array)):
        raise ValueError(f"{tensor['name']!r} holds NaN, and integers do not: the file is in {tensor['dtype']}.")
    limits = np.iinfo(tensor["dtype"])
    levels = np.rint(array / tensor["scale"]) + tensor["zero_point"]
    return np.asarray(np.clip(levels, limits.min, limits.max), tensor["dtype"])


def dequantized(array: Array, tensor: TensorDetails) -> Array:
    """The inverse of ``quantized``, up to rounding."""
    if tensor["dtype"] == "float32":
        return array
    return np.asarray((array.astype("float32") - tensor["zero_point"]) * tensor["scale"], "float32")
