"""How rows of a batch reach their experts, and how the results come back.

Axis letters used here: ``n`` rows of the batch, ``K`` experts. Every dispatcher computes the same thing,

    y[n] = sum over k of weights[n, k] * experts[k](x[n]),

and differs only in how much of it is really executed:

=========  ==========================================  ==========================================
name       work                                        used for
=========  ==========================================  ==========================================
dense      every expert on every row                   the oracle of the tests; training on JAX
gathered   each expert on the rows that chose it       TensorFlow and PyTorch (shapes may vary)
looped     each expert on tiles of those rows          JAX (shapes must be static under XLA)
guarded    each expert on the whole batch, or not      a batch of one at inference, on every backend
swapped    each expert on the rows that chose it       TensorFlow, inside ``inference_only``
=========  ==========================================  ==========================================

A weight of exactly zero means that the expert does not run for that row. NaN is not zero: a row whose weights are
NaN runs every expert and its result is NaN, so a broken gate is never a plausible route.

The result has the dtype of the weights. Experts may compute in others: each output is cast before it meets the next.
"""

import keras
from keras import ops

from keras_moe.layers.inference import is_every_expert


def dispatch(experts, x, weights, training=False):
    """Sum of the experts' outputs, weighted; experts with a zero weight do no work.

    Args:
        experts: list of K built layers with equal input and output shapes.
        x: float tensor ``(n, ...)``.
        weights: float tensor ``(n, K)``.
        training: passed on to the experts. On JAX, training runs every expert on the whole batch, because state
            such as BatchNorm's cannot leave a traced branch.

    Returns:
        A tensor ``(n, ...)``: the experts' output shape, the dtype of ``weights``.
    """
    if (keras.backend.backend() == "jax" and training) or is_every_expert() or _is_recorded(x):
        return dense(experts, x, weights, training)
    if keras.backend.backend() == "tensorflow" and not training:
        from keras_moe.layers.dispatch.tensorflow import can_swap, swapped

        if can_swap(experts):
            return swapped(experts, x, weights)
    if x.shape[0] == 1 and not training:
        return guarded(experts, x, weights)
    if keras.backend.backend() == "jax":
        from keras_moe.layers.dispatch.jax import looped

        return looped(experts, x, weights)
    return gathered(experts, x, weights, training)


def _is_recorded(x):
    """Whether what runs now is written down, to run later on other rows: a choice made now would be in it for good."""
    if keras.backend.backend() == "torch":
        from keras_moe.layers.dispatch.torch import is_recording

        return is_recording()
    # JAX: in an export for batches of any size, which is neither a number nor None.
    return keras.backend.backend() == "jax" and not isinstance(x.shape[0], int)


def dense(experts, x, weights, training=False):
    """Every expert on every row, then the weighted sum."""
    return sum(weighted(expert(x, training=training), weights[:, k]) for k, expert in enumerate(experts))


def guarded(experts, x, weights):
    """Each expert on the whole batch if any row chose it, else nothing: one guard per expert. Inference only."""
    if keras.backend.backend() == "torch":
        return _picked(experts, x, weights)
    # Always zero, but not known beforehand: a constant of that shape would be part of every file made of the graph.
    zero = ops.cast(ops.any(ops.absolute(weights) < 0), weights.dtype)
    zeros = _zeros(experts[0], x, ops.shape(x)[0], weights.dtype, zero)
    chosen = ops.any(ops.not_equal(weights, 0), axis=0)

    def run(k):
        weight = weights[:, k]
        return ops.cond(chosen[k], lambda: weighted(experts[k](x, training=False), weight), lambda: zeros)

    return sum(run(k) for k in range(len(experts)))


def _picked(experts, x, weights):
    # PyTorch knows the route when it runs: the guards are Python's, and to ask an expert for the shape of its zeros,
    # which takes longer than to run it on one row, is needed only where nobody was chosen.
    chosen = (weights != 0).any(0).nonzero().flatten().tolist()
    values = [weighted(experts[k](x, training=False), weights[:, k]) for k in chosen]
    return sum(values[1:], values[0]) if values else _zeros(experts[0], x, len(x), weights.dtype)


def gathered(experts, x, weights, training=False):
    """Each expert on the rows that chose it: sort rows by expert, run, scatter back. Needs dynamic shapes."""
    by_expert = ops.transpose(weights)
    pairs = ops.stack(ops.nonzero(by_expert), axis=-1)  # (expert, row), sorted by expert
    rows = pairs[:, 1]
    counts = ops.sum(ops.cast(ops.not_equal(by_expert, 0), "int32"), axis=1)
    parts = _split(ops.take(x, rows, axis=0), counts, x.shape[1:])
    values = [_run_rows(expert, part, weights.dtype, training) for expert, part in zip(experts, parts, strict=True)]
    weight = ops.take(ops.reshape(by_expert, (-1,)), pairs[:, 0] * ops.shape(x)[0] + rows)
    values = weighted(ops.concatenate(values), weight)
    return _put_back(values, rows, ops.shape(x)[0])


def _split(x, counts, shape):
    """Runs of ``counts`` rows each; ``shape`` is a row's."""
    if keras.backend.backend() == "torch":
        return x.split(counts.tolist())
    import tensorflow as tf

    return [tf.ensure_shape(part, (None, *shape)) for part in tf.split(x, counts, num=counts.shape[0])]


def _run_rows(expert, x, dtype, training):
    # TensorFlow's convolutions raise on an empty batch, so an expert that nobody chose is not called at all.
    def run():
        return ops.cast(expert(x, training=training), dtype)

    def skip():
        return _zeros(expert, x, 0, dtype) + (_no_gradient(expert, dtype) if training else 0)

    if keras.backend.backend() == "torch":  # where the number of rows is known, and a conditional costs more than "if"
        return run() if len(x) else skip()
    return ops.cond(ops.shape(x)[0] > 0, run, skip)


def _put_back(values, rows, n):
    """Values added up in the rows of an ``(n, ...)`` tensor that they belong to."""
    if keras.backend.backend() == "torch":  # where Keras' scatter is a loop in Python over the rows
        return values.new_zeros((n, *values.shape[1:])).index_add(0, rows, values)
    return ops.scatter(ops.expand_dims(rows, -1), values, (n, *values.shape[1:]))


def _no_gradient(expert, dtype):
    # PyTorch gives no gradient at all, not zeros, to what took no part, and Keras warns of it at every step. The sum of
    # none of a variable's numbers is zero, whatever they are.
    if keras.backend.backend() != "torch":
        return 0
    return sum(v.value.flatten()[:0].sum().to(dtype) for v in expert.trainable_variables)


def weighted(y, weight):
    """Rows of ``y``, ``(n, ...)``, times ``weight``, ``(n,)``, in the dtype of the weights."""
    return ops.cast(y, weight.dtype) * ops.reshape(weight, (-1,) + (1,) * (len(y.shape) - 1))


def output_shape(expert, x):
    """Shape of what ``expert`` makes of ``x``, without the batch axis."""
    if keras.backend.backend() == "jax":
        from keras_moe.layers.dispatch.jax import traced_shape

        return traced_shape(expert, x)
    return tuple(expert.compute_output_spec(keras.KerasTensor((None, *x.shape[1:]), x.dtype)).shape[1:])


def _zeros(expert, x, rows, dtype, zero=0):
    return ops.full((rows, *output_shape(expert, x)), zero, dtype=dtype)
