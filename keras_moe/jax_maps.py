"""Convolutions on JAX that are fast on a CPU, and so are their gradients.

XLA's grouped convolution is several times slower there than a sum of shifted slices, of which the gradient that JAX
would derive adds up each tap's share in a pass of its own. A convolution of single pixels is a product of matrices,
whose gradient XLA computes up to fifteen times as fast.
"""

import functools
import math
import typing

import jax
import jax.numpy as jnp
from keras.src.backend.jax import nn

from keras_moe.types import Tensor

Pair: typing.TypeAlias = tuple[int, int]
_keras_conv: typing.Any = getattr(nn, "conv", None)  # a private name of Keras, which a later version may not have


def is_on_cpu() -> bool:
    """Whether JAX computes on a CPU."""
    return jax.default_backend() == "cpu"


def multiply_pixels(multiply: bool = True) -> None:
    """Has Keras' layers convolve single pixels as a product of matrices; with False, as Keras does."""
    if _keras_conv is not None:
        nn.conv = _conv if multiply else _keras_conv


def _conv(
    inputs: Tensor,
    kernel: Tensor,
    strides: typing.Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: typing.Any = 1,
) -> Tensor:
    """``(n, height, width, channels)`` to ``(n, height, width, filters)``; all else is left to Keras."""
    is_map = data_format == "channels_last" and getattr(inputs, "ndim", 0) == 4
    every_pixel = strides in (1, (1, 1), [1, 1])  # Keras' layers give a list
    if is_map and every_pixel and tuple(kernel.shape[:3]) == (1, 1, inputs.shape[-1]) and is_on_cpu():
        kernel = jnp.asarray(kernel)
        return jnp.matmul(jnp.asarray(inputs, kernel.dtype), kernel[0, 0])
    return _keras_conv(inputs, kernel, strides, padding, data_format, dilation_rate)


def pads_around(
    x: Tensor, kernel: Tensor, strides: typing.Sequence[int], padding: str, dilation: typing.Sequence[int]
) -> tuple[Pair, Pair]:
    """Pixels that a convolution adds above and below, left and right."""
    spans = [(tap - 1) * wide + 1 for tap, wide in zip(kernel.shape[:2], dilation, strict=True)]
    (above, below), (left, right) = jax.lax.padtype_to_pads(x.shape[1:3], spans, strides, padding.upper())
    return (above, below), (left, right)


def depthwise(x: Tensor, kernel: Tensor, strides: Pair, padding: str, dilation: Pair) -> Tensor:
    """A sum of shifted slices, each times its row of the kernel, which XLA makes one loop.

    Args:
        x: ``(n, height, width, channels)``.
        kernel: ``(h, w, channels, 1)``.
        strides, dilation: pairs of int.
        padding: ``"same"`` or ``"valid"``.

    Returns:
        ``(n, rows, columns, channels)``. Low precisions are summed in float32.
    """
    pads = pads_around(x, kernel, strides, padding, dilation)
    low = x.dtype in (jnp.float16, jnp.bfloat16)
    wide_x, wide_kernel = (t.astype("float32") if low else t for t in (x, kernel))
    outputs = _depthwise(wide_x, wide_kernel, tuple(strides), pads, tuple(dilation))
    return outputs.astype(kernel.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _depthwise(x: Tensor, kernel: Tensor, strides: Pair, pads: tuple[Pair, Pair], dilation: Pair) -> Tensor:
    sides = range(2)
    counts = [
        (x.shape[i + 1] + sum(pads[i]) - (kernel.shape[i] - 1) * dilation[i] - 1) // strides[i] + 1 for i in sides
    ]
    return _sum_of_slices(jnp.pad(x, [(0, 0), *pads, (0, 0)]), kernel, counts, strides, dilation)


def _forward(x: Tensor, kernel: Tensor, strides: Pair, pads: tuple[Pair, Pair], dilation: Pair) -> typing.Any:
    return _depthwise(x, kernel, strides, pads, dilation), (x, kernel)


def _backward(strides: Pair, pads: tuple[Pair, Pair], dilation: Pair, seen: typing.Any, dy: Tensor) -> typing.Any:
    x, kernel = seen
    around = [(0, 0, 0)]
    for i in range(2):  # ``dy`` with gaps, in front of which the turned kernel begins
        reach, gapped = (kernel.shape[i] - 1) * dilation[i], (dy.shape[i + 1] - 1) * strides[i] + 1
        before = reach - pads[i][0]
        around.append((before, x.shape[i + 1] + reach - gapped - before, strides[i] - 1))
    apart = jax.lax.pad(dy, jnp.zeros((), dy.dtype), [*around, (0, 0, 0)])
    dx = _sum_of_slices(apart, kernel[::-1, ::-1], x.shape[1:3], (1, 1), dilation)
    return dx, _gradient_of_kernel(jnp.pad(x, [(0, 0), *pads, (0, 0)]), dy, kernel.shape, strides, dilation)


_depthwise.defvjp(_forward, _backward)


def _sum_of_slices(x: Tensor, kernel: Tensor, counts: typing.Sequence[int], strides: Pair, dilation: Pair) -> Tensor:
    """What each tap sees of ``x`` at ``counts`` rows and columns, times its row of the kernel, added up."""
    taps, sum_ = [(i, j) for i in range(kernel.shape[0]) for j in range(kernel.shape[1])], None
    for i, j in taps:
        seen = _slice(_slice(x, 1, i * dilation[0], counts[0], strides[0]), 2, j * dilation[1], counts[1], strides[1])
        product = seen * kernel[i, j, :, 0]
        sum_ = product if sum_ is None else sum_ + product
    return sum_


def _gradient_of_kernel(x: Tensor, dy: Tensor, shape: tuple[int, ...], strides: Pair, dilation: Pair) -> Tensor:
    """Row by row of ``dy``, so that the sums of all taps stay near the processor."""
    n, rows, columns, channels = dy.shape
    height, width = shape[:2]

    def add_row(step: Tensor, sums: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        image, row = step // rows, step % rows
        change = jax.lax.dynamic_slice(dy, (image, row, 0, 0), (1, 1, columns, channels))[0, 0]
        found = []
        for i in range(height):
            start = (image, row * strides[0] + i * dilation[0], 0, 0)
            seen = jax.lax.dynamic_slice(x, start, (1, 1, *x.shape[2:]))[0, 0]
            found += [_slice(seen, 0, j * dilation[1], columns, strides[1]) * change for j in range(width)]
        return tuple(total + product for total, product in zip(sums, found, strict=True))

    nothing = tuple(jnp.zeros((columns, channels), dy.dtype) for _ in range(math.prod(shape[:2])))
    sums = jax.lax.fori_loop(0, n * rows, add_row, nothing)
    return jnp.stack([total.sum(0) for total in sums]).reshape(shape)


def _slice(x: Tensor, axis: int, start: int, count: int, stride: int) -> Tensor:
    return jax.lax.slice_in_dim(x, start, start + (count - 1) * stride + 1, stride, axis)
