"""Dispatch for XLA, which needs static shapes but allows loops of dynamic length."""

import collections.abc

import jax
import jax.numpy as jnp
import keras

from keras_moe.layers.dispatch.common import output_shape, weighted
from keras_moe.types import Tensor

# Seats per round, and the most that may stay empty: large tiles run near full speed, small ones waste little. The
# larger two are no powers of two, for which some convolutions are slower on a CPU.
TILES = (30, 9), (10, 5), (1, 0)


def looped(experts: collections.abc.Sequence[keras.Layer], x: Tensor, routing_weights: Tensor) -> Tensor:
    """Each expert in a loop over tiles of the rows that chose it, until no row is left.

    Tiles have 30 seats while at most 9 of them stay empty, then 10 seats while at most 5 stay empty, then one. An empty
    seat computes a copy of the last row and discards the result. No row is dropped and there is no capacity. For
    inference only: a loop of unknown length has no reverse-mode gradient.
    """
    n = x.shape[0]
    y = jnp.zeros((n, *output_shape(experts[0], x)), routing_weights.dtype)
    if n == 0:
        return y
    # Column k: the rows that chose expert k, in order, then n, which is no row.
    seats = jnp.sort(jnp.where(routing_weights != 0, jnp.arange(n)[:, None], n), axis=0)
    seats = jnp.pad(seats, ((0, TILES[0][0]), (0, 0)), constant_values=n)
    counts = jnp.sum(routing_weights != 0, axis=0)
    for k, expert in enumerate(experts):
        start: Tensor = 0
        for size, empty in TILES:
            if size > n + empty:  # never full enough: not worth compiling
                continue
            start, y = _tiles(expert, x, routing_weights[:, k], seats[:, k], counts[k] + empty, size, start, y)
    return y


def _tiles(
    expert: keras.Layer, x: Tensor, weight: Tensor, seats: Tensor, end: Tensor, size: int, start: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Runs as many tiles of ``size`` seats as fit between ``start`` and ``end``. Returns the next start and ``y``."""

    def more(state: tuple[Tensor, Tensor]) -> Tensor:
        return state[0] + size <= end

    def tile(state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        at, y = state
        rows = jax.lax.dynamic_slice(seats, (at,), (size,))
        output = expert(x.at[rows].get(mode="clip"), training=False)
        value = weighted(output, weight.at[rows].get(mode="clip"))
        return at + size, y.at[rows].add(value.astype(y.dtype), mode="drop")

    at, y = jax.lax.while_loop(more, tile, (jnp.asarray(start), y))
    return at, y


class Jitted:
    """``run(experts, x, routing_weights)``, jitted once for a list of experts: eager calls do not trace each time."""

    def __init__(
        self, run: collections.abc.Callable[..., Tensor], experts: collections.abc.Sequence[keras.Layer]
    ) -> None:
        self.run, self.experts = run, experts
        self.variables = [v for expert in experts for v in expert.variables]
        self.jitted = jax.jit(self._stateless)

    def __call__(self, x: Tensor, routing_weights: Tensor) -> Tensor:
        return self.jitted([v.value for v in self.variables], x, routing_weights)

    def _stateless(self, values: list[Tensor], x: Tensor, routing_weights: Tensor) -> Tensor:
        with keras.StatelessScope(zip(self.variables, values, strict=True)):
            return self.run(self.experts, x, routing_weights)


def is_eager(x: Tensor) -> bool:
    """Whether ``x`` is an array with values, not a tracer."""
    return not isinstance(x, jax.core.Tracer)
