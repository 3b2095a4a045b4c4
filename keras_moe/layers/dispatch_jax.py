"""Dispatch for XLA, where shapes are static but the number of rounds of a loop need not be."""

import jax
import jax.numpy as jnp
import keras

# Rows per round: large tiles run near full speed, small ones waste little.
LARGE, SMALL = 32, 8


def looped(experts, x, weights):
    """Each expert in a loop over tiles of the rows that chose it; the loop ends when they are used up.

    As many tiles of 32 rows as fit, then tiles of 8; a tile's spare seats repeat a row with weight zero. Nothing is
    dropped and no capacity is set. Inference only: a loop of unknown length has no reverse-mode gradient.
    """
    n = x.shape[0]
    y = jnp.zeros((n, *experts[0].compute_output_shape(x.shape)[1:]), x.dtype)
    if n == 0:
        return y
    # Column k: the rows that chose expert k, in order, then the others.
    order = jnp.argsort(weights == 0, axis=0, stable=True)
    counts = jnp.sum(weights != 0, axis=0)
    for k, expert in enumerate(experts):
        rows = (order[:, k], counts[k])
        start, y = _tiles(expert, x, weights[:, k], rows, LARGE, 0, y)
        _, y = _tiles(expert, x, weights[:, k], rows, SMALL, start, y)
    return y


def _tiles(expert, x, weight, rows, size, start, y):
    """Full tiles of the large size, or small tiles until every row is served."""
    order, count = rows
    spare = 0 if size == LARGE else size - 1

    def more(state):
        return state[0] + size <= count + spare

    def tile(state):
        at, y = state
        seat = at + jnp.arange(size)
        row = order[jnp.minimum(seat, len(order) - 1)]
        value = jnp.where(seat < count, weight[row], 0).astype(y.dtype)
        output = expert(x[row], training=False).astype(y.dtype)
        taken = (seat < count).reshape(-1, *(1,) * (output.ndim - 1))
        return at + size, y.at[row].add(jnp.where(taken, output * value.reshape(taken.shape), 0))

    return jax.lax.while_loop(more, tile, (jnp.asarray(start), y))


class Jitted:
    """``run(experts, x, weights)``, jitted once for a list of experts, so that eager calls need not trace each time."""

    def __init__(self, run, experts):
        self.run, self.experts = run, experts
        self.variables = [v for expert in experts for v in expert.variables]
        self.jitted = jax.jit(self._stateless)

    def __call__(self, x, weights):
        return self.jitted([v.value for v in self.variables], x, weights)

    def _stateless(self, values, x, weights):
        with keras.StatelessScope(zip(self.variables, values, strict=True)):
            return self.run(self.experts, x, weights)


def is_eager(x):
    """Whether ``x`` is an array with values, not a tracer."""
    return not isinstance(x, jax.core.Tracer)
