"""Rows of a batch in tiles: each tile has a static number of seats and belongs to one expert.

XLA needs static shapes, and the number of rows that choose an expert is known at run time only. A loop over tiles finds
the weights of a tile's expert by its number, does nothing in a tile without rows, and keeps for the gradient what one
layer needs.
"""

import collections.abc
import functools
import typing

import jax
import jax.numpy as jnp
from jax import tree

from keras_moe.layers.dispatch.common import weighted
from keras_moe.types import Tensor

Values: typing.TypeAlias = list[Tensor]
Run: typing.TypeAlias = collections.abc.Callable[[Values, tuple[Tensor, ...]], typing.Any]


class Tiles:
    """The seats of the rows that chose an expert, for each expert in turn.

    An empty seat holds zeros. Tensors of seats have the shape ``(seats, ...)``, those of tiles ``(tiles, ...)``.

    Args:
        routing_weights: ``(n, K)``; where a weight is not zero, the row has a seat with that expert.
        size: int, seats of a tile.
        most: int, experts that a row has at most, on average over the batch.
    """

    def __init__(self, routing_weights: Tensor, size: int, most: int) -> None:
        n, experts = routing_weights.shape
        chosen = routing_weights != 0
        tiles = (n * most + experts * (size - 1)) // size
        self.counts = jnp.sum(chosen, axis=0)
        ends = jnp.cumsum(-(-self.counts // size))
        starts = jnp.concatenate([jnp.zeros_like(ends[:1]), ends[:-1]])
        seats = jnp.where(chosen, size * starts + jnp.cumsum(chosen, axis=0) - 1, size * tiles)
        rows = jnp.broadcast_to(jnp.arange(n)[:, None], seats.shape)
        self.n, self.size, self.experts = n, size, experts
        self.row = jnp.full((size * tiles,), n).at[seats].set(rows, mode="drop")  # n, which is no row: empty
        self.taken = self.row < n
        self.of_tile = jnp.searchsorted(ends[:-1], jnp.arange(tiles), side="right")
        self.of_seat = jnp.repeat(self.of_tile, size)
        self.live = jnp.arange(tiles) < ends[-1]
        self.weight = routing_weights.at[self.row, self.of_seat].get(mode="fill", fill_value=0)

    def gather(self, x: Tensor) -> Tensor:
        """Rows ``(n, ...)`` in their seats."""
        return x.at[self.row].get(mode="fill", fill_value=0)

    def combine(self, outputs: Tensor) -> Tensor:
        """The sum of the seats of each row, weighted: ``(n, ...)``."""
        y = jnp.zeros((self.n, *outputs.shape[1:]), self.weight.dtype)
        return y.at[self.row].add(weighted(outputs, self.weight), mode="drop")

    def of_experts(self, values: Tensor, x: Tensor) -> Tensor:
        """The row of ``values``, ``(K, channels)``, of each seat's expert, to be broadcast over ``x``, of seats."""
        return values[self.of_seat].reshape(-1, *(1 for _ in x.shape[1:-1]), x.shape[-1])

    def sums(self, x: Tensor) -> Tensor:
        """The sum over the taken seats of each expert, and over all axes but the last: ``(K, channels)``."""
        x = jnp.where(self.taken.reshape(-1, *(1 for _ in x.shape[1:])), x, 0)
        by_seat = jnp.sum(x, axis=tuple(range(1, x.ndim - 1)))
        return jax.ops.segment_sum(by_seat, self.of_seat, self.experts, indices_are_sorted=True)

    def run(self, run: Run, values: Values, inputs: tuple[Tensor, ...]) -> typing.Any:
        """``run(values of the tile's expert, rows of the tile)`` for each tile with rows; zeros for the others.

        Args:
            run: a function in which rows do not depend on each other.
            values: for each variable the values of all experts, ``(K, ...)``.
            inputs: tensors of seats.
        """
        by_tile = tuple(x.reshape(-1, self.size, *x.shape[1:]) for x in inputs)
        # Traced here, once: Keras' scopes, that of the dtype for one, have ended when the gradient is traced.
        traced, _ = jax.closure_convert(run, [v[0] for v in values], tuple(x[0] for x in by_tile))
        outputs = _each(traced, values, by_tile, self.of_tile, self.live)
        return tree.map(lambda y: y.reshape(-1, *y.shape[2:]), outputs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _each(run: Run, values: Values, inputs: tuple[Tensor, ...], experts: Tensor, live: Tensor) -> typing.Any:
    def one(state: None, tile: typing.Any) -> typing.Any:
        rows, expert, is_live = tile
        return state, _if(is_live, run, [v[expert] for v in values], rows)

    return jax.lax.scan(one, None, (inputs, experts, live))[1]


def _forward(run: Run, *arguments: typing.Any) -> typing.Any:
    return _each(run, *arguments), arguments


def _backward(run: Run, arguments: typing.Any, gradient: Tensor) -> typing.Any:
    # A loop's own gradient would add zeros to those of all experts for every tile.
    values, inputs, experts, live = arguments

    def pull(values: Values, rows: tuple[Tensor, ...], gradient: Tensor) -> typing.Any:
        return jax.vjp(run, values, rows)[1](gradient)

    def one(total: Values, tile: typing.Any) -> typing.Any:
        rows, gradient, expert, is_live = tile
        own, by_row = _if(is_live, pull, [v[expert] for v in values], rows, gradient)
        return [t.at[expert].add(g) for t, g in zip(total, own, strict=True)], by_row

    zeros = [jnp.zeros_like(v) for v in values]
    return *jax.lax.scan(one, zeros, (inputs, gradient, experts, live)), None, None


_each.defvjp(_forward, _backward)


def _if(is_live: Tensor, run: collections.abc.Callable[..., typing.Any], *arguments: typing.Any) -> typing.Any:
    """What ``run`` returns, or zeros of its shapes."""
    shapes = jax.eval_shape(run, *arguments)
    return jax.lax.cond(
        is_live, run, lambda *_: tree.map(lambda like: jnp.zeros(like.shape, like.dtype), shapes), *arguments
    )
