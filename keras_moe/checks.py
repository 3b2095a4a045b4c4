"""Checks used throughout: arguments, installed packages, integrity of files."""

import collections.abc
import importlib.util
import math
import operator
import types
import typing
import warnings

import numpy as np


class IntegrityError(ValueError):
    """Raised for a file whose content is not what was published or exported: truncated, altered, or a different file.

    Example:
        >>> from keras_moe.export.litert import integrity
        >>> integrity.read_manifest(b"{}", "parts.json")
        Traceback (most recent call last):
        ...
        keras_moe.checks.IntegrityError: parts.json is not a manifest that keras_moe.export wrote.
    """


def check(owner: str, name: str, value: object, holds: object, expected: str) -> None:
    """Raises ValueError naming ``owner``'s argument ``name`` and its ``value`` unless ``holds``."""
    if not holds:
        raise ValueError(f"{owner}: `{name}` must be {expected}. Received: {name}={value!r}")


@typing.overload
def integer(owner: str, name: str, value: object, least: float = ..., most: float = ...) -> int: ...


@typing.overload
def integer(
    owner: str, name: str, value: object, least: float = ..., most: float = ..., *, or_none: bool
) -> int | typing.Any: ...  # Any stands for a None that callers rule out as their other arguments need


def integer(
    owner: str,
    name: str,
    value: object,
    least: float = -math.inf,
    most: float = math.inf,
    or_none: bool = False,
) -> int | None:
    """``value``, a whole number of Python's or NumPy's kinds, as an ``int`` in range; or None, with ``or_none``.

    Raises:
        ValueError: out of range or something else, also a bool and ``3.0``; it names ``owner``'s argument ``name``.
    """
    if value is None and or_none:
        return None
    whole = _whole(value)
    bounds = f" in {least}…{most}" if most < math.inf else f" >= {least}" if least > -math.inf else ""
    check(owner, name, value, whole is not None and least <= whole <= most, "None or " * or_none + f"an int{bounds}")
    return whole


@typing.overload
def number(
    owner: str, name: str, value: object, least: float = ..., most: float = ..., above: float = ..., below: float = ...
) -> float: ...


@typing.overload
def number(
    owner: str,
    name: str,
    value: object,
    least: float = ...,
    most: float = ...,
    above: float = ...,
    below: float = ...,
    *,
    or_none: bool,
) -> float | typing.Any: ...


def number(
    owner: str,
    name: str,
    value: typing.Any,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    or_none: bool = False,
) -> float | None:
    """``value``, a finite number of Python's or NumPy's kinds, as a ``float`` in range; or None, with ``or_none``.

    Raises:
        ValueError: out of range, NaN, infinite or something else, also a bool; it names ``owner``'s argument ``name``.
    """
    if value is None and or_none:
        return None
    is_number = np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iuf" and math.isfinite(value)
    fits = is_number and least <= value <= most and above < value < below
    check(owner, name, value, fits, "None or " * or_none + _interval(least, most, above, below))
    return float(value)


def class_labels(
    owner: str, name: str, value: typing.Any, shape: collections.abc.Iterable[int], classes: int | None = None
) -> np.ndarray:
    """``value`` as integer labels of ``shape``, in ``0…classes - 1``. NumPy would take -1 for the last class.

    Raises:
        ValueError: another shape, no integers, none at all, or labels out of range; it names ``owner``'s argument.
    """
    array: np.ndarray = np.asarray(value)
    fits = array.shape == tuple(shape) and array.size > 0
    check(owner, name, array.shape, fits, f"of shape {tuple(shape)} and not empty")
    check(owner, name, array.dtype.name, array.dtype.kind in "iu", "integers")
    last = math.inf if classes is None else classes - 1
    received = f"{array.min()}…{array.max()}"
    is_known = array.min() >= 0 and array.max() <= last
    check(owner, name, received, is_known, f"in 0…{'' if classes is None else last} (leave out what is to be ignored)")
    return array


def fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    """Whether ``shape`` is ``expected``, in which None stands for any size.

    Example:
        >>> from keras_moe.checks import fits
        >>> fits((2, 8, 8, 3), (None, 8, 8, 3)), fits((2, 8, 3), (None, 8, 8, 3))
        (True, False)
    """
    return len(shape) == len(expected) and all(b in (None, a) for a, b in zip(shape, expected, strict=True))


def are_fractions(images: np.ndarray) -> bool:
    """Whether ``images`` are numbers in [0, 1] rather than pixels in [0, 255]."""
    is_float = images.dtype.kind == "f" and images.size > 0
    return bool(is_float and images.min() >= 0 and images.max() <= 1 and np.any(images % 1))


def warn_of_fractions(owner: str, images: np.ndarray) -> None:
    """Warns where ``images`` are fractions, which a network for pixels in [0, 255] sees as black."""
    if are_fractions(images):
        warnings.warn(
            f"{owner}: expected pixels in [0, 255]. Received: numbers in [0, 1], which are nearly black; multiply them "
            "by 255.",
            stacklevel=3,
        )


def flag(owner: str, name: str, value: object) -> bool:
    """``value``, a bool of Python's or NumPy's, as a ``bool``; ValueError, which names it, for anything else."""
    check(owner, name, value, isinstance(value, (bool, np.bool_)), "a bool")
    return bool(value)


def sizes(owner: str, name: str, value: typing.Any) -> tuple[int | None, ...]:
    """``value``, whole numbers >= 1 or None, as a tuple of ``int`` or None; else ValueError, which names it."""
    is_several = isinstance(value, (tuple, list, np.ndarray))
    check(owner, name, value, is_several, "a tuple of ints >= 1, or None where one is unknown")
    return tuple(None if size is None else integer(owner, name, size, 1) for size in value)


def plain_numbers(record: object, **ranges: collections.abc.Mapping[str, float]) -> None:
    """Makes the numbers of a frozen dataclass Python's own, by its annotations, and checks what they are.

    Fields annotated ``int``, ``float``, ``bool`` or ``… | None`` are looked at. ``ranges``: field -> dict of the limits
    that ``integer`` or ``number`` takes; without limits, what is not negative. Raises ValueError as ``integer`` does.
    """
    rules: dict[type, collections.abc.Callable[..., typing.Any]] = {int: integer, float: number, bool: flag}
    for name, kind in typing.get_type_hints(type(record)).items():
        kind, *other = typing.get_args(kind) or (kind,)
        rule = rules.get(kind) if isinstance(kind, type) else None
        value = getattr(record, name)
        if rule and set(other) <= {types.NoneType} and not (other and value is None):
            limits = {} if rule is flag else ranges.get(name, {"least": 0})
            object.__setattr__(record, name, rule(type(record).__name__, name, value, **limits))


def _whole(value: typing.Any) -> int | None:
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _interval(least: float, most: float, above: float, below: float) -> str:
    low, high = max(least, above), min(most, below)
    if low == -math.inf and high == math.inf:
        return "a finite float"
    if high == math.inf:
        return f"a float {'>' if above == low else '>='} {low}"
    return f"a float in {'(' if above == low else '['}{low}, {high}{')' if below == high else ']'}"


def require(owner: str, extra: str, *packages: str) -> None:
    """Raises ImportError naming the ``extra`` that brings what ``owner`` needs, unless all ``packages`` are there."""
    missing = [package for package in packages if not importlib.util.find_spec(package)]
    if missing:
        raise ImportError(f'{owner} needs {" and ".join(missing)}: pip install "keras-moe[{extra}]"')
