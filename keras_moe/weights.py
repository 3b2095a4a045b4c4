"""Weights as safetensors: named arrays and no code.

A tensor's name is its variable's path. Reading is two-phase: everything is checked first, and a file that does not
fit changes nothing.
"""

import collections.abc
import fnmatch
import json
import pathlib
import typing

import keras
import numpy as np
from keras import ops

from keras_moe.files import write_bytes
from keras_moe.layer_state import finalize
from keras_moe.types import Path

Tensors: typing.TypeAlias = dict[str, np.ndarray]  # name -> array
Variables: typing.TypeAlias = dict[str, keras.Variable]  # name -> variable


def save_weights(
    model: keras.Model, path: Path, dtype: str | None = None, metadata: dict[str, str] | None = None
) -> None:
    """Writes every weight of ``model`` to ``path``, atomically.

    Args:
        model: a built Keras model.
        path: where to, a ``.safetensors`` file.
        dtype: None, or ``"float16"`` to store floating-point weights in half the space.
        metadata: dict of strings, or None.

    Raises:
        ValueError: two weights of one path, or a weight beyond float16's range.

    Example:
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")], name="tiny")
        >>> weights.save_weights(model, "tiny.safetensors", dtype="float16")
        >>> weights.read_tensors("tiny.safetensors")["tiny/dense/bias"]
        array([0., 0.], dtype=float16)
    """
    write_bytes(path, serialized(model, dtype, metadata))


def serialized(model: keras.Model, dtype: str | None = None, metadata: dict[str, str] | None = None) -> bytes:
    """The bytes that ``save_weights`` writes.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="dense")], name="tiny")
        >>> sorted(weights.read_tensors(weights.serialized(model)))
        ['tiny/dense/bias', 'tiny/dense/kernel']
    """
    return to_bytes({name: _stored(name, v, dtype) for name, v in _variables(model).items()}, metadata)


def load_weights(
    model: keras.Model, source: Path | bytes, skip: collections.abc.Sequence[str] = (), label: Path | None = None
) -> None:
    """Reads weights written by ``save_weights`` into ``model``; float16 is widened to the variable's dtype.

    Args:
        model: a built Keras model.
        source: a ``.safetensors`` file: its path, or its content as bytes.
        skip: names, or ``fnmatch`` patterns, of variables to leave as they are. Tensors so named are not looked at.
        label: str or path, what errors call the source; None: its path.

    Raises:
        ValueError: not a safetensors file, or tensors missing, unknown, of another shape or kind of number, or not
            finite. One error lists everything; the model is unchanged.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="dense")])
        >>> model.set_weights([np.array([[2.0]]), np.array([1.0])])
        >>> weights.save_weights(model, "line.safetensors")
        >>> model.set_weights([np.zeros((1, 1)), np.zeros(1)])
        >>> weights.load_weights(model, "line.safetensors")
        >>> [array.item() for array in model.get_weights()]
        [2.0, 1.0]
    """
    label = _label(source, label)
    assign(_variables(model), read_tensors(source, label), label, skip)
    finalize(model)


def assign(variables: Variables, tensors: Tensors, source: object, skip: collections.abc.Sequence[str] = ()) -> None:
    """Assigns ``tensors`` (name -> array) to ``variables`` (name -> variable), all or nothing.

    Args:
        variables: dict, name -> variable.
        tensors: dict, name -> array.
        source: what errors call the origin of ``tensors``.
        skip: as for ``load_weights``.

    Raises:
        ValueError: as ``load_weights``; no variable has changed.

    Example:
        >>> variable = keras.Variable(np.zeros(2))
        >>> weights.assign({"bias": variable}, {"bias": np.array([1.0, 2.0])}, "the example")
        >>> variable.numpy().tolist()
        [1.0, 2.0]
    """
    expected = {name: v for name, v in variables.items() if not matches(name, skip)}
    offered = {name: t for name, t in tensors.items() if not matches(name, skip)}
    problems = [f"missing: {name} {tuple(v.shape)}" for name, v in expected.items() if name not in offered]
    problems += [f"unknown: {name} {t.shape}" for name, t in offered.items() if name not in expected]
    for name in expected.keys() & offered.keys():
        problems += _misfits(name, expected[name], offered[name])
    if problems:
        listed = "\n  ".join(sorted(problems))
        raise ValueError(f"The weights in {source} do not fit the model; nothing was loaded:\n  {listed}")
    for name, variable in expected.items():
        variable.assign(offered[name])


def matches(name: str, patterns: collections.abc.Iterable[str]) -> bool:
    """Whether one of ``patterns``, as in ``fnmatch``, is that of ``name``.

    Example:
        >>> weights.matches("combiner/predictions/bias", ["*predictions/*"])
        True
    """
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def read_tensors(source: Path | bytes, label: Path | None = None) -> Tensors:
    """Name -> array of a safetensors file, given by its path or as bytes.

    Raises:
        ValueError: not such a file, a name given twice, or numbers that numpy does not have, such as bfloat16.

    Example:
        >>> weights.write_tensors("x.safetensors", {"x": np.arange(3)})
        >>> weights.read_tensors("x.safetensors")
        {'x': array([0, 1, 2])}
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    label = _label(source, label)
    data = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
    try:
        tensors: Tensors = load(data)
        _check_unique(data)
    except KeyError as error:
        raise ValueError(
            f"{label} holds a tensor of type {error}. Expected F16, F32, F64, integers or BOOL."
        ) from error
    except (SafetensorError, ValueError, OverflowError) as error:
        raise ValueError(f"{label} is not a safetensors file ({error}). Expected one written by keras_moe.") from error
    return tensors


def write_tensors(path: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> None:
    """Writes name -> array to ``path``: a temporary file beside it, flushed to disk, then renamed over it.

    Args:
        path: where to, a ``.safetensors`` file.
        tensors: dict, name -> array; bfloat16 is written as float32.
        metadata: dict of strings, or None.

    Example:
        >>> weights.write_tensors("half.safetensors", {"half": np.float32(0.5)})
        >>> weights.read_tensors("half.safetensors")["half"].item()
        0.5
    """
    write_bytes(path, to_bytes(tensors, metadata))


def to_bytes(tensors: Tensors, metadata: dict[str, str] | None = None) -> bytes:
    """The bytes that ``write_tensors`` writes.

    Example:
        >>> weights.read_tensors(weights.to_bytes({"x": np.arange(3)}))
        {'x': array([0, 1, 2])}
    """
    from safetensors.numpy import save

    # `save` reads each array's memory as it lies. (ascontiguousarray would turn scalars into vectors.)
    data: bytes = save({name: _widened(np.asarray(t, order="C")) for name, t in tensors.items()}, metadata)
    return data


def _widened(array: np.ndarray) -> np.ndarray:
    """bfloat16, which NumPy lacks, as float32; every other array unchanged."""
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def _variables(model: keras.Model) -> Variables:
    variables = {v.path: v for v in model.weights}
    if len(variables) != len(model.weights):
        raise ValueError(f"{model.name!r} has weights with equal paths; give its layers distinct names.")
    return variables


def _stored(name: str, variable: keras.Variable, dtype: str | None) -> np.ndarray:
    """The variable's array, floating-point ones as ``dtype``; scalars as they are, since they are settings."""
    array: np.ndarray = ops.convert_to_numpy(variable)
    if dtype is None or not np.issubdtype(array.dtype, np.floating) or array.ndim == 0:
        return array
    if np.any(np.abs(array) > np.finfo(dtype).max):
        raise ValueError(f"{name} has values beyond the range of {dtype}; store the weights in float32.")
    return array.astype(dtype)


def _label(source: Path | bytes, label: Path | None) -> str:
    return str(label or ("the given bytes" if isinstance(source, bytes) else source))


def _misfits(name: str, variable: keras.Variable, tensor: np.ndarray) -> list[str]:
    expected, is_float = tuple(variable.shape), keras.backend.is_float_dtype(variable.dtype)
    if expected != tensor.shape:
        return [f"wrong shape: {name} is {tensor.shape}, expected {expected}"]
    if is_float != (tensor.dtype.kind == "f") or tensor.dtype.kind == "c":
        return [f"wrong type: {name} is {tensor.dtype}, expected {variable.dtype}"]
    # What is beyond the largest of the variable's own type would be an infinity once assigned.
    largest = np.finfo("float16" if variable.dtype == "float16" else "float32").max
    if is_float and not np.all(np.abs(tensor) <= largest):
        return [f"not finite: {name}" + " as float16" * (variable.dtype == "float16")]
    return []


def _check_unique(data: bytes) -> None:
    # The parser lets the last of two equal names win. By now the header is known to be sound.
    def unique(pairs: list[tuple[str, object]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            raise ValueError("a name is given twice in its header")

    json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")], object_pairs_hook=unique)
