"""Self-attention over a map, with keys and values from a smaller map."""

import functools
import typing

import keras
from keras import layers, ops

from keras_moe.channels_last import Conv2D
from keras_moe.checks import check, integer
from keras_moe.types import Shape, Tensor

_check = functools.partial(check, "EfficientAttention")


@keras.saving.register_keras_serializable(package="keras_moe")
class EfficientAttention(keras.layers.Layer):
    """Multi-head self-attention of every pixel to a map ``reduction`` times smaller (SegFormer, NeurIPS 2021, 3.1).

    A convolution of kernel and stride ``reduction`` and a layer normalisation make the smaller map, from which keys and
    values are computed. The attention matrix then has ``reduction**2`` times fewer columns. There is no positional
    embedding.

    Args:
        heads: int, a divisor of the channels.
        reduction: int, a divisor of height and width. 1 is plain self-attention.

    Call arguments:
        x: float tensor ``(n, h, w, c)`` with known sizes.

    Returns:
        Float tensor ``(n, h, w, c)``.

    Raises:
        ValueError: an unknown height or width, or a size that ``heads`` or ``reduction`` does not divide.

    Example:
        >>> attention = keras_moe.layers.EfficientAttention(heads=2, reduction=4)
        >>> tuple(attention(np.ones((1, 8, 8, 16))).shape)
        (1, 8, 8, 16)
    """

    def __init__(self, heads: int = 1, reduction: int = 1, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.heads: int = integer("EfficientAttention", "heads", heads, 1)
        self.reduction: int = integer("EfficientAttention", "reduction", reduction, 1)

    def build(self, shape: tuple[int, ...]) -> None:
        _, height, width, channels = shape
        _check("heads", self.heads, channels % self.heads == 0, f"a divisor of the channels, {channels}")
        fits = height is not None and width is not None and not (height % self.reduction or width % self.reduction)
        _check("reduction", self.reduction, fits, f"a divisor of a known height and width, {height} and {width}")
        dense = functools.partial(layers.Dense, kernel_initializer=linear(), dtype=self.dtype_policy)
        self.query = dense(channels, name="query")
        self.key_value = dense(2 * channels, name="key_value")
        self.projection = dense(channels, name="projection")
        self.reducer: layers.Layer | None = None
        self.norm: layers.Layer | None = None
        if self.reduction > 1:
            self.reducer = Conv2D(
                channels, self.reduction, self.reduction, kernel_initializer=fan_out(), dtype=self.dtype_policy,
                name="reducer",
            )  # fmt: skip
            self.norm = layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy, name="norm")
        for layer in (self.query, self.key_value, self.projection, self.reducer, self.norm):
            if layer is not None:
                layer.build((None, height, width, channels))

    def call(self, x: Tensor) -> Tensor:
        _, height, width, channels = x.shape
        small = self.norm(self.reducer(x)) if self.reducer and self.norm else x
        query = self._by_head(self.query(x) * (channels // self.heads) ** -0.5)
        key, value = ops.split(self.key_value(small), 2, axis=-1)
        scores = ops.matmul(query, ops.transpose(self._by_head(key), (0, 1, 3, 2)))
        mixed = ops.matmul(ops.softmax(scores, axis=-1), self._by_head(value))
        mixed = ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, height, width, channels))
        return self.projection(mixed)

    def _by_head(self, x: Tensor) -> Tensor:
        _, height, width, channels = x.shape
        x = ops.reshape(x, (-1, height * width, self.heads, channels // self.heads))
        return ops.transpose(x, (0, 2, 1, 3))

    def compute_output_shape(self, shape: Shape) -> Shape:
        return tuple(shape)

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "heads": self.heads, "reduction": self.reduction}


def linear() -> keras.Initializer:
    """The initializer of Patcher's linear layers: a normal of deviation 0.02, truncated at two deviations."""
    return keras.initializers.TruncatedNormal(stddev=0.02)


def fan_out() -> keras.Initializer:
    """The initializer of Patcher's convolutions: a normal scaled by the kernel's number of outputs."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
