"""What the arguments of models must be, and that models keep them: those of one name mean the same in every model."""

import collections.abc
import functools
import inspect
import typing

import numpy as np

from keras_moe.checks import flag, integer, number, sizes

F = typing.TypeVar("F", bound=collections.abc.Callable)

_count = functools.partial(integer, least=1)
_positive = functools.partial(number, above=0)
_share = functools.partial(number, least=0, most=1)


def _stages(owner, name, value):
    """Where a network is cut: by stages or, a text, by the name of a layer."""
    return value if isinstance(value, str) else integer(owner, name, value, or_none=True)


def _each(owner, name, value):
    """None, a number, or several."""
    if np.ndim(value) == 0:
        return integer(owner, name, value, or_none=True)
    return tuple(integer(owner, name, each) for each in value)


def _size(owner, name, value):
    """A name, or numbers by name."""
    return {k: _each(owner, f"{name}[{k!r}]", v) for k, v in value.items()} if isinstance(value, dict) else value


RULES: dict[str, collections.abc.Callable] = {
    "alpha": _positive,
    "branch_alpha": _positive,
    "branch_blocks": functools.partial(integer, least=1, or_none=True),
    "class_filters": _count,
    "class_stride": _count,
    "classes": _count,
    "conv": flag,
    "cost_weight": number,
    "drop_below": _share,
    "drop_path_rate": number,
    "dropout_rate": _share,
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
    """Decorates ``__init__`` or a class method that makes a model: arguments are checked, and the model keeps them.

    Numbers are checked by ``RULES`` and become Python's, so that a configuration is plain data, as JSON wants it, and a
    number from NumPy is as good. Then the model is told all arguments, see ``PartitionedModel.remember``.
    """
    signature = inspect.signature(make)

    @functools.wraps(make)
    def checked(owner, *args, **kwargs):
        bound = signature.bind(owner, *args, **kwargs)
        bound.apply_defaults()
        given = list(bound.arguments.items())[1:]
        name = (owner if isinstance(owner, type) else type(owner)).__name__
        arguments = {key: RULES[key](name, key, value) if key in RULES else value for key, value in given}
        made = make(owner, **arguments)
        (owner if made is None else made).remember(arguments)
        return made

    # Keras asks for it without looking behind the decorator.
    checked.__signature__ = signature  # type: ignore[attr-defined]
    return typing.cast(F, checked)
