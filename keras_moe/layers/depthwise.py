"""Depthwise convolution that is fast on a CPU on JAX, too."""

import collections.abc
import typing

import keras
from keras import layers, ops

from keras_moe.checks import check
from keras_moe.types import Tensor


@keras.saving.register_keras_serializable(package="keras_moe")
class DepthwiseConv2D(layers.DepthwiseConv2D):
    """Keras' layer of that name for maps ``(n, height, width, channels)``, with its arguments, weights and outputs.

    On JAX on a CPU it is a sum of shifted slices, each times its row of the kernel, which XLA makes one loop; XLA's
    grouped convolution and its gradient are several times slower there. Elsewhere, and where one channel gives several,
    it is Keras' own. Low precisions are summed in float32.

    Args:
        kernel_size: int or pair of int.
        strides, padding, **options: as for Keras' layer; ``data_format`` must be ``"channels_last"``.

    Call arguments:
        inputs: float tensor ``(n, height, width, channels)``.

    Returns:
        Tensor ``(n, rows, columns, channels)``.

    Example:
        Each channel has a kernel of its own: here one adds up what it sees, and one doubles it.

        >>> layer = keras_moe.layers.DepthwiseConv2D((1, 2), use_bias=False)
        >>> layer.build((None, 1, 3, 2))
        >>> layer.set_weights([np.array([[[[1.0], [0.0]], [[1.0], [2.0]]]])])
        >>> np.asarray(keras.ops.convert_to_numpy(layer(np.array([[[[1.0, 1.0], [2.0, 1.0], [3.0, 4.0]]]]))))
        array([[[[3., 2.],
                 [5., 8.]]]], dtype=float32)
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: str = "valid",
        data_format: str | None = "channels_last",
        **options: typing.Any,
    ) -> None:
        is_last = data_format in (None, "channels_last")
        check(
            "DepthwiseConv2D", "data_format", data_format, is_last, "'channels_last', of (n, height, width, channels)"
        )
        super().__init__(kernel_size, strides, padding, data_format="channels_last", **options)

    def call(self, inputs: Tensor) -> Tensor:
        if self.depth_multiplier != 1 or not is_jax_on_cpu():
            return super().call(inputs)
        outputs = _sum_of_slices(inputs, self.kernel, self.strides, self.padding, self.dilation_rate)
        if self.use_bias:
            outputs = outputs + self.bias
        return outputs if self.activation is None else self.activation(outputs)


def is_jax_on_cpu() -> bool:
    """Whether JAX is the backend and computes on a CPU."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.default_backend() == "cpu"


def _sum_of_slices(
    x: Tensor,
    kernel: Tensor,
    strides: collections.abc.Sequence[int],
    padding: str,
    dilation: collections.abc.Sequence[int],
) -> Tensor:
    """The depthwise convolution of ``x`` with ``kernel`` ``(h, w, channels, 1)``."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    x, kernel = (ops.cast(t, "float32") if dtype in ("float16", "bfloat16") else t for t in (x, kernel))
    taps = kernel.shape[:2]
    spans = [(tap - 1) * wide + 1 for tap, wide in zip(taps, dilation, strict=True)]
    if padding == "same":
        missing = [_missing(*args) for args in zip(x.shape[1:3], spans, strides, strict=True)]
        x = ops.pad(x, [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)])
    rows, columns = ((n - span) // step for n, span, step in zip(x.shape[1:3], spans, strides, strict=True))

    def seen(i: int, j: int) -> Tensor:
        """What tap ``(i, j)`` sees at each position of the output."""
        top, left = i * dilation[0], j * dilation[1]
        bottom, right = top + rows * strides[0] + 1, left + columns * strides[1] + 1
        return x[:, top : bottom : strides[0], left : right : strides[1]]

    products = [seen(i, j) * kernel[i, j, :, 0] for i in range(taps[0]) for j in range(taps[1])]
    return ops.cast(sum(products[1:], products[0]), dtype)


def _missing(size: int, span: int, step: int) -> int:
    """Pixels that "same" adds along a side."""
    return max(0, (-(-size // step) - 1) * step + span - size)
