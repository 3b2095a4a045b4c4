"""Dispatch of a batch of one: an expert runs, or it does not."""

import keras
from keras import ops

from keras_moe.layers.dispatch.common import weighted, zeros
from keras_moe.types import Tensor


def guarded(experts: list, x: Tensor, weights: Tensor) -> Tensor:
    """Each expert on the whole batch if any row chose it, else nothing: one guard per expert. Inference only."""
    if keras.backend.backend() == "torch":
        return _picked(experts, x, weights)
    # Always zero, but not known beforehand: a constant of that shape would be part of every file made of the graph.
    zero = ops.cast(ops.any(ops.absolute(weights) < 0), weights.dtype)
    nothing = zeros(experts[0], x, ops.shape(x)[0], weights.dtype, zero)
    chosen = ops.any(ops.not_equal(weights, 0), axis=0)

    def run(k):
        weight = weights[:, k]
        return ops.cond(chosen[k], lambda: weighted(experts[k](x, training=False), weight), lambda: nothing)

    return sum(run(k) for k in range(len(experts)))


def _picked(experts, x, weights):
    # PyTorch knows the route when it runs: the guards are Python's, and to ask an expert for the shape of its zeros,
    # which takes longer than to run it on one row, is needed only where nobody was chosen.
    chosen = (weights != 0).any(0).nonzero().flatten().tolist()
    values = [weighted(experts[k](x, training=False), weights[:, k]) for k in chosen]
    return sum(values[1:], values[0]) if values else zeros(experts[0], x, len(x), weights.dtype)
