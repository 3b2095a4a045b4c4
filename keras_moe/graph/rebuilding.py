"""Models made of copies of the layers of a ``Graph``."""

import collections.abc
import typing

import keras

from keras_moe.channels_last import check_same_formats
from keras_moe.graph.calls import Call, replaced, replay
from keras_moe.layer_state import copy_assets
from keras_moe.settings import copy_state
from keras_moe.types import Tensor


def rebuild(
    calls: collections.abc.Iterable[Call], source: Tensor, outputs: typing.Any, name: str, prefix: str = ""
) -> keras.Model:
    """A model made of copies of the calls' layers, weights included.

    Args:
        calls: in order.
        source: the symbolic tensor it starts from.
        outputs: the symbolic tensors, or one, that it returns.
        name: of the model.
        prefix: of the names of the copied layers.

    Example:
        >>> x = keras.Input((4,))
        >>> hidden = keras.layers.Dense(3, name="hidden")(x)
        >>> whole = graph.open_graph(keras.Model(x, keras.layers.Dense(2, name="logits")(hidden)))
        >>> first = whole.calls[0]
        >>> trunk = graph.rebuild([first], whole.inputs[0], first.outputs, "trunk", prefix="copied_")
        >>> trunk.output_shape, trunk.layers[-1].name
        ((None, 3), 'copied_hidden')
    """
    calls, copies = list(calls), dict[keras.Operation, keras.Operation]()

    def copy(call: Call) -> keras.Operation:
        if call.layer not in copies:
            copies[call.layer] = _copy(call.layer, prefix + call.name)
        return copies[call.layer]

    inputs = keras.Input(batch_shape=source.shape, dtype=source.dtype)
    values = {source: inputs}
    replay(calls, values, copy)
    for call in calls:
        check_same_formats(call.layer, copies[call.layer])
    model = keras.Model(inputs, replaced(outputs, values), name=name)
    for layer, copied in copies.items():
        if isinstance(layer, keras.Layer):
            copy_state(layer, copied)
    return model


def _copy(layer: keras.Operation, name: str) -> keras.Operation:
    if not isinstance(layer, keras.Layer):
        return layer  # an operation, such as ops.add: it holds nothing
    try:
        copied = type(layer).from_config({**layer.get_config(), "name": name})
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r} cannot be copied from its configuration, as a lambda in it cannot: "
            "give a function that `keras.saving.register_keras_serializable` knows, or a layer with `get_config`. "
            f"{str(error)[:200]}"
        ) from error
    copy_assets(layer, copied)  # a lookup tells its output's shape by its vocabulary
    return copied
