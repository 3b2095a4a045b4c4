"""Dispatch for training on JAX: static shapes, gradients, and no work for experts that nobody chose.

All experts are one computation, whose layers run one after another on all rows, in tiles of one expert each. A layer
without weights takes all seats at once. BatchNorm has the statistics of each expert's own rows, as on the other
backends.
"""

import collections.abc
import functools
import inspect
import typing

import jax
import jax.numpy as jnp
import keras
from keras import ops

from keras_moe.graph import is_functional, open_graph, replay
from keras_moe.jax_maps import is_on_cpu
from keras_moe.layer_state import inner_layers
from keras_moe.layers.depthwise import DepthwiseConv2D
from keras_moe.layers.dispatch.alike import are_alike
from keras_moe.layers.dispatch.convolution import convolve
from keras_moe.layers.dispatch.norm import is_norm, normalized
from keras_moe.layers.dispatch.tiles import Tiles, Values
from keras_moe.types import Tensor

Function: typing.TypeAlias = collections.abc.Callable[..., typing.Any]


def can_tile(experts: collections.abc.Sequence[typing.Any], x: Tensor) -> bool:
    """Whether experts are one computation in which BatchNorm alone has rows depend on each other and keeps a state.

    Of convolutions it may hold those whose gradient is fast in a loop.
    """
    first = experts[0]
    called = [call.layer for call in open_graph(first).calls] if is_functional(first) else [first]
    layers = [layer for layer in called if isinstance(layer, keras.Layer)]
    known = all(is_norm(layer) or _is_convolution(layer) or _is_by_row(layer) for layer in layers)
    return bool(jnp.issubdtype(x.dtype, jnp.floating)) and known and are_alike(experts)


def tiled(experts: collections.abc.Sequence[typing.Any], x: Tensor, routing_weights: Tensor, top_k: int) -> Tensor:
    """Each expert on the rows that chose it, in training.

    Args:
        top_k: int, how many experts a row has at most; memory is kept for so many. A batch in which rows have more of
            them, of NaN for instance, is computed all the same, with memory for every expert.
    """
    variables = [v for expert in experts for v in expert.variables]
    state = [v for v in variables if not v.trainable]

    def run(most: int, x: Tensor, routing_weights: Tensor, values: Values) -> tuple[Tensor, Values]:
        with keras.StatelessScope(list(zip(variables, values, strict=True))) as scope:
            tiles = Tiles(routing_weights, _size(most, *routing_weights.shape), most)
            y = tiles.combine(_replayed(experts, tiles, tiles.gather(x)))
        return y, [scope.get_current_value(v) for v in state]

    few, every = functools.partial(run, top_k), functools.partial(run, len(experts))
    inputs = x, routing_weights, [v.value for v in variables]
    if top_k >= len(experts):
        y, changed = every(*inputs)
    else:  # values kept for the gradient of ``every`` would be kept in any case
        fit = jnp.count_nonzero(routing_weights) <= top_k * len(routing_weights)
        y, changed = jax.lax.cond(fit, few, jax.checkpoint(every), *inputs)
    for variable, value in zip(state, changed, strict=True):
        variable.assign(value)
    return y


def _size(most: int, n: int, experts: int) -> int:
    """Seats of a tile: on a CPU few, of which fewer stay empty; else an even share of the rows."""
    return min(n, 8 if is_on_cpu() else max(8, n * most // experts))


def _replayed(experts: collections.abc.Sequence[typing.Any], tiles: Tiles, x: Tensor) -> Tensor:
    """The output of each seat's expert, layer by layer."""
    if not is_functional(experts[0]):
        return _layer(list(experts), tiles)(x)
    graphs = [open_graph(expert) for expert in experts]
    first, calls = graphs[0], zip(*(graph.calls for graph in graphs), strict=True)
    layers = {same[0].name: [call.layer for call in same] for same in calls}
    tensors = {first.inputs[0]: x}
    replay(first.calls, tensors, lambda call: _layer(layers[call.name], tiles))
    return tensors[first.output]


def _layer(layers: list[typing.Any], tiles: Tiles) -> Function:
    """What computes a layer of each expert, one of ``layers``, on tensors of seats."""
    first = layers[0]
    if is_norm(first):
        return lambda x, **_: normalized(layers, tiles, x)
    function = _in_training(first)
    if not isinstance(first, keras.Layer) or not first.weights:
        return function
    values = [_stacked(same) for same in zip(*(layer.weights for layer in layers), strict=True)]

    def by_tile(*args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        leaves, structure = jax.tree.flatten((args, kwargs))
        tensors = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)]

        def run(values: Values, rows: tuple[Tensor, ...]) -> typing.Any:
            given = dict(enumerate(leaves)) | dict(zip(tensors, rows, strict=True))
            args, kwargs = jax.tree.unflatten(structure, given.values())
            with keras.StatelessScope(list(zip(first.weights, values, strict=True))):
                return function(*args, **kwargs)

        return tiles.run(run, values, tuple(leaves[i] for i in tensors))

    return by_tile


def _stacked(variables: collections.abc.Iterable[keras.Variable]) -> Tensor:
    """The values of a variable of each expert, ``(K, ...)``."""
    return jnp.stack([v.value for v in variables])


def _in_training(layer: typing.Any) -> Function:
    if _is_convolution(layer) and is_on_cpu():
        return functools.partial(_convolve, layer)
    if "training" in inspect.signature(layer.call).parameters:
        return lambda *args, **kwargs: layer(*args, **{**kwargs, "training": True})
    called: Function = layer
    return called


def _convolve(layer: keras.layers.Conv2D, x: Tensor) -> Tensor:
    """What ``layer`` computes."""
    x, kernel = (ops.cast(t, layer.compute_dtype) for t in (x, layer.kernel))
    outputs = convolve(x, kernel, layer.strides, layer.padding, layer.dilation_rate)
    if layer.use_bias:
        outputs = outputs + ops.cast(layer.bias, layer.compute_dtype)
    return outputs if layer.activation is None else layer.activation(outputs)


def _is_convolution(layer: typing.Any) -> bool:
    """Whether ``layer`` is an ordinary convolution of maps ``(n, height, width, channels)``."""
    if type(layer) is not keras.layers.Conv2D or layer.quantization_mode or layer.activity_regularizer:
        return False
    return bool(layer.groups == 1 and layer.data_format == "channels_last")


def _is_by_row(layer: keras.Layer) -> bool:
    """Whether ``layer`` is known to treat each row by itself, to keep no state and to add no loss.

    Seeds are a state, but for a layer without weights, which draws for all rows at once.
    """
    if layer.weights and len(layer.variables) > len(layer.weights):
        return False
    return all(
        type(inner).__module__.startswith(("keras.", "keras_moe."))
        and not isinstance(inner, keras.layers.Lambda)
        and (not hasattr(inner, "kernel_size") or isinstance(inner, DepthwiseConv2D))
        and not inner._non_trainable_variables
        and not inner.quantization_mode
        and inner.activity_regularizer is None
        for inner in inner_layers(layer)
    )
