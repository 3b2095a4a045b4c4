"""Dispatch for dynamic shapes: rows are sorted by expert, run and put back."""

import collections.abc
import typing

import keras
import numpy as np
from keras import ops

from keras_moe.layers.dispatch.common import weighted, zeros
from keras_moe.types import Shape, Tensor


def gathered(
    experts: collections.abc.Sequence[typing.Any], x: Tensor, routing_weights: Tensor, training: bool = False
) -> Tensor:
    """Each expert on the rows that chose it: rows are sorted by expert, run, and scattered back."""
    by_expert = ops.transpose(routing_weights)
    pairs = ops.stack(ops.nonzero(by_expert), axis=-1)  # (expert, row), sorted by expert
    rows = pairs[:, 1]
    counts = ops.sum(ops.cast(ops.not_equal(by_expert, 0), "int32"), axis=1)
    parts = _split(ops.take(x, rows, axis=0), counts, x.shape[1:])
    values = [
        _run_rows(expert, part, routing_weights.dtype, training) for expert, part in zip(experts, parts, strict=True)
    ]
    weight = ops.take(ops.reshape(by_expert, (-1,)), pairs[:, 0] * ops.shape(x)[0] + rows)
    values = weighted(ops.concatenate(values), weight)
    return _put_back(values, rows, ops.shape(x)[0])


def _split(x: Tensor, counts: Tensor, shape: Shape) -> collections.abc.Sequence[Tensor]:
    """Consecutive parts of ``x`` with ``counts`` rows each; ``shape`` is that of a row."""
    parts: collections.abc.Sequence[Tensor]
    if keras.backend.backend() == "torch":
        parts = x.split(counts.tolist())
        return parts
    if keras.backend.backend() == "jax":  # not traced: the counts are numbers
        parts = ops.split(x, np.cumsum(counts)[:-1].tolist())
        return parts
    import tensorflow as tf

    return [tf.ensure_shape(part, (None, *shape)) for part in tf.split(x, counts, num=counts.shape[0])]


def _run_rows(expert: typing.Any, x: Tensor, dtype: typing.Any, training: bool) -> Tensor:
    # TensorFlow's convolutions raise on an empty batch, so an expert without rows is not called at all.
    def run() -> Tensor:
        return ops.cast(expert(x, training=training), dtype)

    def skip() -> Tensor:
        return zeros(expert, x, 0, dtype) + (_no_gradient(expert, dtype) if training else 0)

    if keras.backend.backend() != "tensorflow":  # the number of rows is known, and a conditional costs more than "if"
        return run() if len(x) else skip()
    return ops.cond(ops.shape(x)[0] > 0, run, skip)


def _put_back(values: Tensor, rows: Tensor, n: Tensor) -> Tensor:
    """A tensor ``(n, ...)`` of the sums of the values that belong to each row."""
    if keras.backend.backend() == "torch":  # Keras' scatter there is a loop in Python over the rows
        return values.new_zeros((n, *values.shape[1:])).index_add(0, rows, values)
    return ops.scatter(ops.expand_dims(rows, -1), values, (n, *values.shape[1:]))


def _no_gradient(expert: typing.Any, dtype: typing.Any) -> Tensor:
    # PyTorch gives no gradient at all, not zeros, to unused variables, and Keras warns of it at every step. The sum of
    # an empty slice of a variable is zero and has a gradient of zeros.
    if keras.backend.backend() != "torch":
        return 0
    return sum(v.value.flatten()[:0].sum().to(dtype) for v in expert.trainable_variables)
