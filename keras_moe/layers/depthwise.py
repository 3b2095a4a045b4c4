"""Depthwise convolution that is fast on a CPU on JAX, too."""

import typing

import keras
from keras import layers, ops

from keras_moe.checks import check
from keras_moe.types import Tensor

if keras.backend.backend() == "jax":
    from keras_moe.jax_maps import depthwise, is_on_cpu


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
        if self.depth_multiplier != 1 or not _is_jax_on_cpu():
            return super().call(inputs)
        kernel = ops.convert_to_tensor(self.kernel)
        outputs = depthwise(inputs, kernel, self.strides, self.padding, self.dilation_rate)
        if self.use_bias:
            outputs = outputs + self.bias
        return outputs if self.activation is None else self.activation(outputs)


def _is_jax_on_cpu() -> bool:
    return keras.backend.backend() == "jax" and is_on_cpu()
