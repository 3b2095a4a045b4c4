"""Copying of weights between layers, and the state that layers derive from weights.

All copying of weights in the package goes through here. Some layers compute from values that they derive from their
weights, ``Normalization`` for one; Keras has them derive these anew when it loads a file (``finalize_state``), but not
when weights are assigned.
"""

import collections.abc
import contextlib
import contextvars
import pathlib
import tempfile
import typing

import keras

from keras_moe.types import Array

_shapes_only = contextvars.ContextVar("_shapes_only", default=False)


@contextlib.contextmanager
def shapes_only() -> collections.abc.Iterator[None]:
    """Inside, weights that are copied or set are checked and keep no values, and none is allocated."""
    before = _shapes_only.set(True)
    try:
        yield
    finally:
        _shapes_only.reset(before)


def inner_layers(layer: keras.Layer) -> list[keras.Layer]:
    """``layer`` and every layer inside it, each once; none comes before a layer that holds it."""
    inner_first: list[keras.Layer] = []
    visited: set[int] = set()

    def visit(layer: keras.Layer) -> None:
        if id(layer) in visited:
            return
        visited.add(id(layer))
        for inner in reversed(held(layer)):
            visit(inner)
        inner_first.append(layer)

    visit(layer)
    return inner_first[::-1]


def held(layer: keras.Layer) -> list[keras.Layer]:
    """The layers directly inside ``layer``."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def own_variables(layer: keras.Layer) -> list[keras.Variable]:
    """The weights of ``layer`` that belong to none of its inner layers."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def copy_weights(source: keras.Layer, target: keras.Layer) -> None:
    """Gives ``target`` the weights of ``source``, a layer or model of the same layers; it then computes as ``source``.

    Raises:
        ValueError: other layers, or weights of other shapes; ``target`` is unchanged.
    """
    pairs = _pairs(source, target)
    assigned = [pair for one, other in pairs for pair in _matched(one, other)]
    _check_shapes(target, [(variable, tuple(value.shape)) for value, variable in assigned])
    if _shapes_only.get():
        return
    for value, variable in assigned:
        variable.assign(value.numpy())  # through NumPy: on JAX the two would share one buffer
    for one, other in pairs:
        copy_assets(one, other)
    finalize(target)


def set_weights(layer: keras.Layer, arrays: collections.abc.Sequence[Array]) -> None:
    """Gives ``layer`` the weights ``arrays``, in the order of ``layer.weights``.

    Raises:
        ValueError: another number of arrays, or other shapes; ``layer`` is unchanged.
    """
    variables = layer.weights
    if len(variables) != len(arrays):
        raise ValueError(f"{layer.name!r} has {len(variables)} weights. Received: {len(arrays)} arrays")
    _check_shapes(layer, [(v, tuple(a.shape)) for v, a in zip(variables, arrays, strict=True)])
    if _shapes_only.get():
        return
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    finalize(layer)


def finalize(layer: keras.Layer) -> None:
    """Recomputes the state derived from weights in every layer inside ``layer``. To be called after they are set."""
    for inner in inner_layers(layer):
        if derives(inner) and inner.weights:  # others derive from what they saw in `adapt`, which a copy did not see
            inner.finalize_state()


def derives(layer: keras.Layer) -> bool:
    """Whether ``layer`` itself computes from values derived from its weights, or from data that it was adapted to."""
    return hasattr(layer, "finalize_state")


def copy_assets(source: keras.Layer, target: keras.Layer) -> None:
    """Copies what ``source`` keeps outside of its weights, such as the vocabulary of a lookup."""
    if hasattr(source, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            source.save_assets(folder)
            if any(pathlib.Path(folder).iterdir()):
                target.load_assets(folder)


def _pairs(source: keras.Layer, target: keras.Layer) -> list[tuple[keras.Layer, keras.Layer]]:
    one, other = ([inner for inner in inner_layers(layer) if _has_state(inner)] for layer in (source, target))
    kinds = [[type(inner).__name__ for inner in each] for each in (one, other)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"{source.name!r} and {target.name!r} have other layers: {len(one)} with weights against {len(other)}, or "
            "of other classes. Weights are copied between layers that differ in nothing but their names."
        )
    for a, b in zip(one, other, strict=True):
        if derives(a) and _setting(a) != _setting(b):
            raise ValueError(f"{a.name!r} and {b.name!r} have other settings: {_setting(a)} against {_setting(b)}")
    return list(zip(one, other, strict=True))


def _has_state(layer: keras.Layer) -> bool:
    return bool(own_variables(layer)) or derives(layer)


def _setting(layer: keras.Layer) -> dict[str, typing.Any]:
    return {key: value for key, value in layer.get_config().items() if key not in ("name", "trainable", "dtype")}


def _matched(source: keras.Layer, target: keras.Layer) -> list[tuple[keras.Variable, keras.Variable]]:
    """``(variable, variable)``: by name, since what was quantized later has its variables in another order."""
    one, other = own_variables(source), {v.name: v for v in own_variables(target)}
    if len(other) == len(one) and all(v.name in other for v in one):
        return [(v, other[v.name]) for v in one]
    if len(one) != len(own_variables(target)):
        raise ValueError(
            f"{source.name!r} has the weights {[v.name for v in one]}, {target.name!r} has "
            f"{[v.name for v in own_variables(target)]}"
        )
    return list(zip(one, own_variables(target), strict=True))


def _check_shapes(layer: keras.Layer, pairs: collections.abc.Iterable[tuple[keras.Variable, tuple[int, ...]]]) -> None:
    wrong = [f"{v.path}: {shape} for {tuple(v.shape)}" for v, shape in pairs if tuple(v.shape) != shape]
    if wrong:
        raise ValueError(f"Weights of other shapes than those of {layer.name!r}: {', '.join(wrong)}")
