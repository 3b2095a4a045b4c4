"""Whether experts are one computation with different weights."""

import collections.abc
import inspect
import typing

import keras
import numpy as np
from keras import tree

from keras_moe.layer_state import derives, inner_layers
from keras_moe.layers.changes import telling
from keras_moe.types import Shape


def are_alike(experts: collections.abc.Sequence[typing.Any]) -> bool:
    """Whether experts differ in names and in the values of their variables alone, of which there are some."""
    if any(derives(layer) for expert in experts for layer in inner_layers(expert)):
        return False  # values that a layer derives from its weights would be constants: the first expert's
    computations = {_computation(expert) for expert in experts}
    return len(computations) == 1 and None not in computations and bool(experts[0].variables)


def _computation(expert: typing.Any) -> tuple[str, tuple[tuple[Shape, str], ...]] | None:
    """An expert's computation without values: its configuration without names, and the shapes of its variables.

    None for an expert without a configuration.
    """
    layers = list(expert._flatten_layers())
    names = {layer.name: str(i) for i, layer in enumerate(layers)}
    # The configuration of a custom layer may describe it at its making, not now.
    now = [{name: _plain(value) for name, value in telling(layer).items()} for layer in layers]
    try:
        config = keras.saving.serialize_keras_object(expert)
    except NotImplementedError:
        return None
    nameless = tree.map_structure(lambda x: names.get(x, x) if isinstance(x, str) else x, [config, now])
    # ``_dtype``: the stored one; ``dtype`` would be that of the layer that reads.
    return repr(nameless), tuple((tuple(v.shape), v._dtype) for v in expert.variables)


def _plain(value: typing.Any) -> typing.Any:
    """A value whose representation tells it from others; None in place of objects."""
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (bool, int, float, str)) or inspect.isfunction(value) else None
