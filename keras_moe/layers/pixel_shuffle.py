"""Channels to space, by reshapes and one transpose of four axes, which every backend and TFLite have."""

import typing

import keras
from keras import ops

from keras_moe.checks import integer
from keras_moe.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_moe")
class PixelShuffle(keras.layers.Layer):
    """Sub-pixel shuffle (Shi et al., CVPR 2016): ``(n, h, w, s * s * c)`` to ``(n, s * h, s * w, c)``.

    Args:
        scale: int >= 1, s.

    Raises:
        ValueError: channels that ``scale ** 2`` does not divide.
    """

    def __init__(self, scale: int, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.scale = integer("PixelShuffle", "scale", scale, 1)

    def build(self, shape: Shape) -> None:
        if shape[-1] % self.scale**2:
            raise ValueError(f"PixelShuffle: channels must be a multiple of {self.scale**2}. Received: {shape[-1]}")

    def call(self, x: Tensor) -> Tensor:
        s, channels = self.scale, x.shape[-1] // self.scale**2
        height, width = ops.shape(x)[1:3]
        x = ops.reshape(x, (-1, width, s, s * channels))
        x = ops.transpose(x, (0, 2, 1, 3))
        return ops.reshape(x, (-1, height * s, width * s, channels))

    def compute_output_shape(self, shape: Shape) -> Shape:
        n, height, width, channels = shape
        grown = [size and size * self.scale for size in (height, width)]
        return (n, *grown, channels // self.scale**2)

    def get_config(self) -> dict:
        return {**super().get_config(), "scale": self.scale}
