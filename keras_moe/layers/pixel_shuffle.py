"""Channels to space by reshapes and one transpose of four axes, operations of every backend and of LiteRT."""

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

    Call arguments:
        x: float tensor ``(n, h, w, scale ** 2 * c)``.

    Returns:
        Float tensor ``(n, scale * h, scale * w, c)``.

    Raises:
        ValueError: a number of channels that ``scale ** 2`` does not divide.

    Example:
        >>> outputs = keras_moe.layers.PixelShuffle(2)(np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 4))
        >>> keras.ops.convert_to_numpy(outputs)[0, :, :, 0]
        array([[1., 2.],
               [3., 4.]], dtype=float32)
    """

    def __init__(self, scale: int, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.scale: int = integer("PixelShuffle", "scale", scale, 1)

    def build(self, shape: tuple[int, ...]) -> None:
        if shape[-1] % self.scale**2:
            raise ValueError(f"PixelShuffle: channels must be a multiple of {self.scale**2}. Received: {shape[-1]}")

    def call(self, x: Tensor) -> Tensor:
        s, channels = self.scale, x.shape[-1] // self.scale**2
        height, width = ops.shape(x)[1:3]
        x = ops.reshape(x, (-1, width, s, s * channels))
        x = ops.transpose(x, (0, 2, 1, 3))
        return ops.reshape(x, (-1, height * s, width * s, channels))

    def compute_output_shape(self, shape: tuple[int, ...]) -> Shape:
        n, height, width, channels = shape
        grown = [size and size * self.scale for size in (height, width)]
        return (n, *grown, channels // self.scale**2)

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "scale": self.scale}
