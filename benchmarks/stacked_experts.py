"""Experts that are alike as one batched computation, as a GPU might like it: for ``benchmarks.dispatch``."""

import keras
from keras import ops


class Stacked:
    """Each expert on as many seats as the fullest has rows, all at once: ``vmap`` over their stacked weights.

    A convolution becomes one with a group for each expert. Empty seats are computed and count for nothing. Nothing is
    read back from the device in between: ``seats`` is told beforehand, which no real batch can.

    Args:
        experts: K layers of one configuration.
        seats: int, the rows of the fullest expert.
    """

    def __init__(self, experts, seats):
        self.expert, self.seats = experts[0], seats
        self.values = [
            ops.stack([expert.variables[i].value for expert in experts]) for i, _ in enumerate(experts[0].variables)
        ]

    def __call__(self, x, weights):
        by_expert = ops.transpose(weights)
        rows = ops.argsort(ops.cast(ops.equal(by_expert, 0), "int32"), axis=1)[:, : self.seats]
        values = _vmap(self._run)(self.values, ops.take(x, rows, axis=0))
        weight = ops.take_along_axis(by_expert, rows, axis=1)
        values = values * ops.reshape(weight, (*weight.shape, *[1] * (len(values.shape) - 2)))
        return _put_back(ops.reshape(values, (-1, *values.shape[2:])), ops.reshape(rows, (-1,)), x.shape[0])

    def _run(self, values, x):
        with keras.StatelessScope(zip(self.expert.variables, values, strict=True)):
            return self.expert(x, training=False)


def _vmap(function):
    if keras.backend.backend() == "jax":
        import jax

        return jax.vmap(function)
    import torch

    return torch.vmap(function)


def _put_back(values, rows, n):
    if keras.backend.backend() == "jax":
        import jax.numpy as jnp

        return jnp.zeros((n, *values.shape[1:]), values.dtype).at[rows].add(values)
    return values.new_zeros((n, *values.shape[1:])).index_add(0, rows, values)
