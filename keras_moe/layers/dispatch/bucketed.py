"""Dispatch for training on JAX: static shapes, gradients, and no work for experts that nobody chose.

All experts are one program, scanned over their stacked variables. The rows of an expert take the smallest of a few
numbers of seats that holds them; of these branches XLA runs one. Empty seats are zeros that BatchNorm leaves out of its
statistics, so that these are those of the expert's own rows, as on the other backends. Each branch is computed again
for its gradient: values kept for it would be kept for all branches.
"""

import collections.abc
import functools
import inspect
import math
import typing

import jax
import jax.numpy as jnp
import keras
from keras import ops

from keras_moe.graph import is_functional, open_graph, replay
from keras_moe.layer_state import inner_layers
from keras_moe.layers.depthwise import DepthwiseConv2D, is_jax_on_cpu
from keras_moe.layers.dispatch.alike import are_alike
from keras_moe.layers.dispatch.common import output_shape, weighted
from keras_moe.layers.dispatch.convolution import convolve
from keras_moe.types import Tensor

Run: typing.TypeAlias = collections.abc.Callable[[list[Tensor], Tensor, Tensor], tuple[Tensor, list[Tensor]]]


def can_bucket(experts: collections.abc.Sequence[typing.Any]) -> bool:
    """Whether experts are one computation in which BatchNorm alone has rows depend on each other and keeps a state.

    Of convolutions it may hold those whose gradient is fast in a branch.
    """
    first = experts[0]
    called = [call.layer for call in open_graph(first).calls] if is_functional(first) else [first]
    layers = [layer for layer in called if isinstance(layer, keras.Layer)]
    known = all(_is_norm(layer) or _is_convolution(layer) or _is_by_row(layer) for layer in layers)
    return known and are_alike(experts)


def bucketed(experts: collections.abc.Sequence[typing.Any], x: Tensor, routing_weights: Tensor) -> Tensor:
    """Each expert on the rows that chose it, in training."""
    n, first = x.shape[0], experts[0]
    sizes, run = _sizes(n, len(experts)), _training(first)
    # Column k: the rows that chose expert k, in order, then n, which is no row.
    seats = jnp.sort(jnp.where(routing_weights != 0, jnp.arange(n)[:, None], n), axis=0)
    counts = jnp.sum(routing_weights != 0, axis=0)
    state = [i for i, v in enumerate(first.variables) if not v.trainable]

    def on(size: int, y: Tensor, values: list[Tensor], weight: Tensor, seats: Tensor, count: Tensor) -> typing.Any:
        rows = seats[:size]
        output, changed = run(values, _at(x, rows), jnp.arange(size) < count)
        return y.at[rows].add(weighted(output, _at(weight, rows)), mode="drop"), changed

    def nothing(y: Tensor, values: list[Tensor], *_: Tensor) -> typing.Any:
        return y, [values[i] for i in state]

    branches = [nothing, *(jax.checkpoint(functools.partial(on, size), prevent_cse=False) for size in sizes)]

    def one(y: Tensor, expert: typing.Any) -> typing.Any:
        count = expert[-1]
        return jax.lax.switch(jnp.searchsorted(jnp.array([0, *sizes]), count), branches, y, *expert)

    values = [jnp.stack([v.value for v in same]) for same in zip(*(e.variables for e in experts), strict=True)]
    y = jnp.zeros((n, *output_shape(first, x)), routing_weights.dtype)
    y, changed = jax.lax.scan(one, y, (values, routing_weights.T, seats.T, counts))
    for i, new in zip(state, changed, strict=True):
        for k, expert in enumerate(experts):
            expert.variables[i].assign(new[k])
    return y


def _sizes(n: int, experts: int) -> list[int]:
    """Numbers of seats: from half of an even share of ``n`` rows, at least 8, in steps of at most the root of two."""
    least = min(n, max(8, n // (2 * experts)))
    steps = math.ceil(2 * math.log2(n / least))
    return sorted({math.ceil(n * 2 ** (-step / 2)) for step in range(steps + 1)})


def _at(x: Tensor, rows: Tensor) -> Tensor:
    """Rows of ``x``; zeros for a row that there is not."""
    return x.at[rows].get(mode="fill", fill_value=0)


def _training(expert: typing.Any) -> Run:
    """``(variables, rows, which seats are taken) -> (output, variables that are not trained, changed)``."""
    graph = open_graph(expert) if is_functional(expert) else None
    state = [v for v in expert.variables if not v.trainable]

    def run(values: list[Tensor], rows: Tensor, taken: Tensor) -> tuple[Tensor, list[Tensor]]:
        with keras.StatelessScope(list(zip(expert.variables, values, strict=True))) as scope:
            if graph is None:
                output = _in_training(expert, taken)(rows)
            else:
                known = {graph.inputs[0]: rows}
                replay(graph.calls, known, lambda call: _in_training(call.layer, taken))
                output = known[graph.output]
        return output, [scope.get_current_value(v) for v in state]

    return run


def _in_training(layer: typing.Any, taken: Tensor) -> collections.abc.Callable[..., typing.Any]:
    if _is_norm(layer):  # by `call`: else the mask would stay with the output, and the next layer warn of it
        return lambda x, **_: layer.call(x, training=True, mask=_broadcast(taken, x.shape[:-1]))
    if _is_convolution(layer) and is_jax_on_cpu():
        return functools.partial(_convolve, layer)
    if "training" in inspect.signature(layer.call).parameters:
        return lambda *args, **kwargs: layer(*args, **{**kwargs, "training": True})
    called: collections.abc.Callable[..., typing.Any] = layer
    return called


def _convolve(layer: keras.layers.Conv2D, x: Tensor) -> Tensor:
    """What ``layer`` computes."""
    x, kernel = (ops.cast(t, layer.compute_dtype) for t in (x, layer.kernel))
    outputs = convolve(x, kernel, layer.strides, layer.padding, layer.dilation_rate)
    if layer.use_bias:
        outputs = outputs + ops.cast(layer.bias, layer.compute_dtype)
    return outputs if layer.activation is None else layer.activation(outputs)


def _broadcast(taken: Tensor, shape: tuple[int, ...]) -> Tensor:
    return jnp.broadcast_to(taken.reshape(-1, *(1 for _ in shape[1:])), shape)


def _is_norm(layer: typing.Any) -> bool:
    """Whether ``layer`` is a BatchNorm of channels in the last axis."""
    return type(layer) is keras.layers.BatchNormalization and layer.axis in (-1, layer.input_spec.ndim - 1)


def _is_convolution(layer: typing.Any) -> bool:
    """Whether ``layer`` is an ordinary convolution of maps ``(n, height, width, channels)``."""
    if type(layer) is not keras.layers.Conv2D or layer.quantization_mode or layer.activity_regularizer:
        return False
    return bool(layer.groups == 1 and layer.data_format == "channels_last")


def _is_by_row(layer: keras.Layer) -> bool:
    """Whether ``layer`` is known to treat each row by itself, to keep no state but seeds and to add no loss."""
    return all(
        type(inner).__module__.startswith(("keras.", "keras_moe."))
        and not isinstance(inner, keras.layers.Lambda)
        and (not hasattr(inner, "kernel_size") or isinstance(inner, DepthwiseConv2D))
        and not inner._non_trainable_variables
        and inner.activity_regularizer is None
        for inner in inner_layers(layer)
    )
