"""Convolution on JAX whose gradient is fast inside a branch or a loop, too.

XLA on a CPU calls a library for convolutions of maps ``(n, height, width, channels)`` alone. It brings those of a
gradient, whose axes come in another order, into this one, but in the outermost computation only; in a branch it leaves
them to plain loops, fifty times slower. Here a gradient's axes are in this order from the start.
"""

import collections.abc
import functools
import typing

import jax

from keras_moe.jax_maps import Pair, pads_around
from keras_moe.types import Tensor

Numbers: typing.TypeAlias = collections.abc.Sequence[int]
_ORDER = ("NHWC", "HWIO", "NHWC")


def convolve(x: Tensor, kernel: Tensor, strides: Numbers, padding: str, dilation: Numbers) -> Tensor:
    """``(n, height, width, channels)`` and ``(h, w, channels, filters)`` to ``(n, rows, columns, filters)``."""
    pads = pads_around(x, kernel, strides, padding, dilation)
    return _convolution(x, kernel, tuple(strides), pads, tuple(dilation))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolution(x: Tensor, kernel: Tensor, strides: Pair, pads: tuple[Pair, Pair], dilation: Pair) -> Tensor:
    return _run(x, kernel, strides, pads, dilation)


def _forward(x: Tensor, kernel: Tensor, strides: Pair, pads: tuple[Pair, Pair], dilation: Pair) -> typing.Any:
    return _run(x, kernel, strides, pads, dilation), (x, kernel)


def _backward(strides: Pair, pads: tuple[Pair, Pair], dilation: Pair, seen: typing.Any, dy: Tensor) -> typing.Any:
    x, kernel = seen
    sides = range(2)
    spans = [(kernel.shape[i] - 1) * dilation[i] + 1 for i in sides]  # of the kernel, and of ``dy`` with its gaps
    gapped = [(dy.shape[i + 1] - 1) * strides[i] + 1 for i in sides]
    before = [spans[i] - 1 - pads[i][0] for i in sides]
    after = [x.shape[i + 1] - gapped[i] - before[i] + spans[i] - 1 for i in sides]
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    dx = _run(dy, turned, (1, 1), tuple(zip(before, after, strict=True)), dilation, lhs_dilation=strides)
    rest = [gapped[i] + spans[i] - 1 - x.shape[i + 1] - pads[i][0] for i in sides]  # negative: pixels nobody saw
    x = x[:, : x.shape[1] + min(0, rest[0]), : x.shape[2] + min(0, rest[1])]
    around = tuple((pads[i][0], max(0, rest[i])) for i in sides)
    dk = _run(x.transpose(3, 1, 2, 0), dy.transpose(1, 2, 0, 3), dilation, around, strides)
    return dx, dk.transpose(1, 2, 0, 3)


_convolution.defvjp(_forward, _backward)


def _run(
    x: Tensor,
    kernel: Tensor,
    strides: Pair,
    pads: tuple[Pair, ...],
    rhs_dilation: Pair,
    lhs_dilation: Pair = (1, 1),
) -> Tensor:
    outputs: Tensor = jax.lax.conv_general_dilated(
        x, kernel, strides, pads, lhs_dilation, rhs_dilation, dimension_numbers=_ORDER
    )
    return outputs
