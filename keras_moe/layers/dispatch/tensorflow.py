"""Dispatch for TensorFlow where nobody will ask for a gradient: one graph for all experts, with the variables of each.

A call of a ``tf.function`` costs with every variable that the function holds, used or not, and with 16 experts that is
more than one expert's work on an image. Here the function holds one tensor of references to them instead, and reads
those of the expert that runs.

Keras' BatchNorm is seven operations, which cost as much on few rows as on many. Here it is TensorFlow's own one, which
TensorFlow also merges into the convolution in front of it.
"""

import collections.abc
import inspect

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from keras_moe.graph import is_functional, open_graph
from keras_moe.layer_state import derives, inner_layers
from keras_moe.layers.changes import telling
from keras_moe.layers.dispatch.common import output_shape, weighted
from keras_moe.layers.inference import is_inference_only
from keras_moe.types import Tensor


def can_swap(experts: list) -> bool:
    """Whether ``swapped`` is allowed here, and these experts are one graph with different variables, all on the CPU."""
    if not is_inference_only() or tf.executing_eagerly():
        return False
    if any(derives(layer) for expert in experts for layer in inner_layers(expert)):
        return False  # what a layer derives from its weights is a constant of the graph: that of the first expert
    variables = [v._value for expert in experts for v in expert.variables]
    if not variables or not all(_on_cpu(v) for v in variables):
        return False
    anatomies = {_anatomy(expert) for expert in experts}
    return len(anatomies) == 1 and None not in anatomies


def swapped(experts: list, x: Tensor, weights: Tensor) -> Tensor:
    """Each expert on the rows that chose it: a loop over those chosen, of one graph with each one's variables.

    State that an expert changes in inference is lost, as on JAX.
    """
    by_expert = tf.transpose(weights)
    chosen = by_expert != 0
    pairs = tf.where(chosen)  # (expert, row), sorted by expert
    counts = tf.reduce_sum(tf.cast(chosen, "int64"), axis=1)
    ends = tf.cumsum(counts)
    used = tf.where(counts > 0)[:, 0]
    rows = pairs[:, 1]
    shape = output_shape(experts[0], x)
    run = _with_variables_of(experts)

    def body(i, values):
        k = used[i]
        output = run(k, tf.gather(x, rows[ends[k] - counts[k] : ends[k]]))
        return i + 1, values.write(i, tf.cast(output, weights.dtype))

    values = tf.TensorArray(weights.dtype, tf.size(used), element_shape=(None, *shape), infer_shape=False)
    values = tf.while_loop(lambda i, _: i < tf.size(used), body, (0, values))[1].concat()
    size = tf.concat([tf.shape(x, "int64")[:1], tf.constant(shape, "int64")], axis=0)
    return tf.scatter_nd(pairs[:, 1:], weighted(values, tf.gather_nd(by_expert, pairs)), size)


def _with_variables_of(experts):
    """``(k, rows) -> outputs`` of expert ``k``, a tensor."""
    first, answer = experts[0], with_fused_norms(experts[0])
    with tf.init_scope():  # ``_value``: the variable itself, whatever precision the bank computes in
        handles = tf.stack([tf.stack([v._value.handle for v in expert.variables]) for expert in experts])

    def run(k, rows):
        own = tf.unstack(tf.gather(handles, k))
        values = [_read(handle, v) for handle, v in zip(own, first.variables, strict=True)]
        with keras.StatelessScope(list(zip(first.variables, values, strict=True))):
            return answer(rows)

    return run


def with_fused_norms(expert: keras.Layer) -> collections.abc.Callable[[Tensor], Tensor]:
    """``rows -> outputs`` of ``expert`` at inference, the norms of its maps as one operation each."""
    if not is_functional(expert):
        return lambda rows: expert(rows, training=False)
    graph = open_graph(expert)

    def layer(call):
        return _fused(call.layer) if _can_fuse(call) else call.layer

    return lambda rows: graph.run([rows], layer)[graph.output]


def _can_fuse(call):
    norm = call.layer
    if type(norm) is not keras.layers.BatchNormalization or len(call.outputs.shape) != 4:
        return False
    return norm.scale and norm.center and norm.axis in (-1, 3) and norm.compute_dtype == "float32"


def _fused(norm):
    def run(x, **_):
        values = [v.value for v in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)]
        if any(value.dtype != "float32" for value in (x, *values)):  # within a bank of another precision
            return norm(x, training=False)
        scale, offset, mean, variance = values
        return tf.raw_ops.FusedBatchNormV3(
            x=x, scale=scale, offset=offset, mean=mean, variance=variance, epsilon=norm.epsilon, is_training=False
        ).y

    return run


def _read(handle, variable):
    # As it is stored: ``variable.dtype`` would be that of the layer that asks.
    value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=variable._value.dtype)
    value.set_shape(variable.shape)
    return value


def _on_cpu(variable):
    return isinstance(variable, tf.Variable) and hasattr(variable, "handle") and "CPU" in variable.device


def _anatomy(expert):
    """What an expert computes but for its variables' values: its configuration without names, and their shapes.

    None for one that has no configuration.
    """
    layers = list(expert._flatten_layers())
    names = {layer.name: str(i) for i, layer in enumerate(layers)}
    # The configuration of a custom layer may say how it was made, not how it is now.
    now = [{name: _plain(value) for name, value in telling(layer).items()} for layer in layers]
    try:
        config = keras.saving.serialize_keras_object(expert)
    except NotImplementedError:
        return None
    nameless = tree.map_structure(lambda x: names.get(x, x) if isinstance(x, str) else x, [config, now])
    return repr(nameless), tuple((tuple(v.shape), v._value.dtype.name) for v in expert.variables)


def _plain(value):
    """A value that can be compared by what it prints; None in place of objects."""
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (bool, int, float, str)) or inspect.isfunction(value) else None
