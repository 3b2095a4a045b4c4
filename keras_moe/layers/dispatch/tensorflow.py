"""Dispatch for TensorFlow without gradients: one graph for all experts, with the variables of each.

The cost of a call of a ``tf.function`` grows with the number of its variables, used or not. With 16 experts it exceeds
the work of one expert on an image. The function here holds one tensor of references instead, and reads the variables of
the expert that runs.

Keras' BatchNorm is seven operations, which cost as much on few rows as on many. TensorFlow's single operation replaces
them; TensorFlow also merges it into the convolution before it.
"""

import collections.abc
import typing

import keras
import tensorflow as tf

from keras_moe.graph import Call, is_functional, open_graph
from keras_moe.layers.dispatch.alike import are_alike
from keras_moe.layers.dispatch.common import output_shape, weighted
from keras_moe.layers.inference import is_inference_only
from keras_moe.types import Tensor


def can_swap(experts: collections.abc.Sequence[typing.Any]) -> bool:
    """Whether ``swapped`` is allowed here, and the experts are one graph with different variables, all on the CPU."""
    if not is_inference_only() or tf.executing_eagerly():
        return False
    variables = [v._value for expert in experts for v in expert.variables]
    return all(_on_cpu(v) for v in variables) and are_alike(experts)


def swapped(experts: collections.abc.Sequence[typing.Any], x: Tensor, routing_weights: Tensor) -> Tensor:
    """Each chosen expert on its rows: a loop over one graph, with the variables of one expert in each round.

    Changes of an expert's state at inference are lost, as on JAX.
    """
    by_expert = tf.transpose(routing_weights)
    chosen = by_expert != 0
    pairs = tf.where(chosen)  # (expert, row), sorted by expert
    counts = tf.reduce_sum(tf.cast(chosen, "int64"), axis=1)
    ends = tf.cumsum(counts)
    used = tf.where(counts > 0)[:, 0]
    rows = pairs[:, 1]
    shape = output_shape(experts[0], x)
    run = _with_variables_of(experts)

    def body(i: Tensor, values: typing.Any) -> tuple[Tensor, typing.Any]:
        k = used[i]
        output = run(k, tf.gather(x, rows[ends[k] - counts[k] : ends[k]]))
        return i + 1, values.write(i, tf.cast(output, routing_weights.dtype))

    values = tf.TensorArray(routing_weights.dtype, tf.size(used), element_shape=(None, *shape), infer_shape=False)
    values = tf.while_loop(lambda i, _: i < tf.size(used), body, (0, values))[1].concat()
    size = tf.concat([tf.shape(x, "int64")[:1], tf.constant(shape, "int64")], axis=0)
    return tf.scatter_nd(pairs[:, 1:], weighted(values, tf.gather_nd(by_expert, pairs)), size)


def _with_variables_of(
    experts: collections.abc.Sequence[typing.Any],
) -> collections.abc.Callable[[Tensor, Tensor], Tensor]:
    """``(k, rows) -> outputs`` of expert ``k``, which is a tensor."""
    first, predict = experts[0], with_fused_norms(experts[0])
    with tf.init_scope():  # ``_value``: the variable itself, not cast to the bank's precision
        handles = tf.stack([tf.stack([v._value.handle for v in expert.variables]) for expert in experts])

    def run(k: Tensor, rows: Tensor) -> Tensor:
        own = tf.unstack(tf.gather(handles, k))
        values = [_read(handle, v) for handle, v in zip(own, first.variables, strict=True)]
        with keras.StatelessScope(list(zip(first.variables, values, strict=True))):
            return predict(rows)

    return run


def with_fused_norms(expert: keras.Layer) -> collections.abc.Callable[[Tensor], Tensor]:
    """``rows -> outputs`` of ``expert`` at inference, with one operation for each BatchNorm of a map."""
    if not is_functional(expert):
        return lambda rows: expert(rows, training=False)
    graph = open_graph(expert)

    def layer(call: Call) -> collections.abc.Callable[..., Tensor]:
        layer: collections.abc.Callable[..., Tensor] = call.layer
        return _fused(call.layer) if _can_fuse(call) else layer

    return lambda rows: graph.run([rows], layer)[graph.output]


def _can_fuse(call: Call) -> bool:
    norm = call.layer
    if type(norm) is not keras.layers.BatchNormalization or len(call.outputs.shape) != 4:
        return False
    return bool(norm.scale and norm.center and norm.axis in (-1, 3) and norm.compute_dtype == "float32")


def _fused(norm: keras.layers.BatchNormalization) -> collections.abc.Callable[..., Tensor]:
    def run(x: Tensor, **_: typing.Any) -> Tensor:
        values = [v.value for v in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)]
        if any(value.dtype != "float32" for value in (x, *values)):  # within a bank of another precision
            return norm(x, training=False)
        scale, offset, mean, variance = values
        return tf.raw_ops.FusedBatchNormV3(
            x=x, scale=scale, offset=offset, mean=mean, variance=variance, epsilon=norm.epsilon, is_training=False
        ).y

    return run


def _read(handle: Tensor, variable: keras.Variable) -> Tensor:
    # In the stored dtype: ``variable.dtype`` would be that of the layer that reads.
    value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=variable._value.dtype)
    value.set_shape(variable.shape)
    return value


def _on_cpu(variable: typing.Any) -> bool:
    return isinstance(variable, tf.Variable) and hasattr(variable, "handle") and "CPU" in variable.device
