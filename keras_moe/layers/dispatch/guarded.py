"""Dispatch of a batch of one, where an expert runs or does not."""

import collections.abc
import typing

import keras
from keras import ops

from keras_moe.layers.dispatch.common import weighted, zeros
from keras_moe.types import Tensor


def guarded(experts: collections.abc.Sequence[typing.Any], x: Tensor, routing_weights: Tensor) -> Tensor:
    """Each expert on the whole batch if any row chose it: one guard per expert, for inference only."""
    if keras.backend.backend() == "torch":
        return _picked(experts, x, routing_weights)
    # Zero at run time, but no constant: a constant of that shape would be stored in every exported file. By
    # `all` alone: microcontrollers have no `any`.
    zero = ops.cast(ops.all(ops.absolute(routing_weights) < 0), routing_weights.dtype)
    nothing = zeros(experts[0], x, ops.shape(x)[0], routing_weights.dtype, zero)
    chosen = ops.logical_not(ops.all(ops.equal(routing_weights, 0), axis=0))  # NaN is not zero

    def run(k: int) -> Tensor:
        weight = routing_weights[:, k]
        return ops.cond(chosen[k], lambda: weighted(experts[k](x, training=False), weight), lambda: nothing)

    return sum(run(k) for k in range(len(experts)))


def _picked(experts: collections.abc.Sequence[typing.Any], x: Tensor, routing_weights: Tensor) -> Tensor:
    # PyTorch knows the route at run time, so the guards are Python's. Inference of an output shape takes longer than a
    # run on one row: it happens only if no expert was chosen.
    chosen = (routing_weights != 0).any(0).nonzero().flatten().tolist()
    values = [weighted(experts[k](x, training=False), routing_weights[:, k]) for k in chosen]
    return sum(values[1:], values[0]) if values else zeros(experts[0], x, len(x), routing_weights.dtype)
