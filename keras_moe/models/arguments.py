"""The arguments of models: one rule for each name in every model, and their place in the configuration."""

import collections.abc
import functools
import inspect
import typing

import numpy as np

from keras_moe.checks import check, flag, integer, number, sizes

F = typing.TypeVar("F", bound=collections.abc.Callable[..., typing.Any])
Value: typing.TypeAlias = typing.Any  # as the caller gave it

_count = functools.partial(integer, least=1)
_positive = functools.partial(number, above=0)
_share = functools.partial(number, least=0, most=1)


def _stages(owner: str, name: str, value: Value) -> Value:
    """The place of a cut: a number of stages, or the name of a layer."""
    return value if isinstance(value, str) else integer(owner, name, value, or_none=True)


def _each(owner: str, name: str, value: Value) -> Value:
    """None, a number, or several numbers."""
    if np.ndim(value) == 0:
        return integer(owner, name, value, or_none=True)
    return tuple(integer(owner, name, each) for each in value)


def _counts(owner: str, name: str, value: Value) -> Value:
    """None, or several numbers."""
    if value is None:
        return None
    check(owner, name, value, isinstance(value, (tuple, list, np.ndarray)), "a tuple of ints >= 1, or None")
    return tuple(integer(owner, name, each, 1) for each in value)


def _count_or_counts(owner: str, name: str, value: Value) -> Value:
    """None, a number, or several numbers, each at least 1."""
    return integer(owner, name, value, 1, or_none=True) if np.ndim(value) == 0 else _counts(owner, name, value)


def _size(owner: str, name: str, value: Value) -> Value:
    """A name, or numbers by name."""
    return {k: _each(owner, f"{name}[{k!r}]", v) for k, v in value.items()} if isinstance(value, dict) else value


RULES: dict[str, collections.abc.Callable[..., Value]] = {
    "alpha": _positive,
    "base_size": functools.partial(integer, least=1, or_none=True),
    "blocks": _counts,
    "branch_alpha": _positive,
    "branch_blocks": _count_or_counts,
    "class_filters": _count,
    "class_stride": _count,
    "classes": functools.partial(integer, least=2),
    "conv": flag,
    "cost_weight": number,
    "drop_below": _share,
    "drop_path_rate": number,
    "dropout_rate": _share,
    "expert_blocks": _counts,
    "filters": _each,
    "gate_filters": functools.partial(integer, least=0),
    "gate_units": functools.partial(integer, least=0),
    "include_preprocessing": flag,
    "include_top": flag,
    "input_shape": sizes,
    "learned": flag,
    "noise_std": number,
    "num_experts": _count,
    "scale": integer,
    "size": _size,
    "sparse": flag,
    "split_at": _stages,
    "threshold": functools.partial(_share, or_none=True),
    "top_k": integer,
}


def remembered(make: F) -> F:
    """Decorates ``__init__``, or a class method that makes a model, with checks of the arguments and a record of them.

    ``RULES`` checks numbers and turns NumPy's into Python's, so that a configuration is plain data for JSON. The model
    then receives all arguments in ``PartitionedModel.remember``.
    """
    signature = inspect.signature(make)

    @functools.wraps(make)
    def checked(owner: typing.Any, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        bound = signature.bind(owner, *args, **kwargs)
        bound.apply_defaults()
        values = list(bound.arguments.items())[1:]
        name = (owner if isinstance(owner, type) else type(owner)).__name__
        arguments = {key: RULES[key](name, key, value) if key in RULES else value for key, value in values}
        returned = make(owner, **arguments)
        (owner if returned is None else returned).remember(arguments)
        return returned

    # Keras reads the signature of the decorated function itself.
    checked.__signature__ = signature  # type: ignore[attr-defined]
    return typing.cast(F, checked)
