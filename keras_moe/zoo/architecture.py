"""A model from the name of its class and plain arguments, with or without memory for its weights."""

from __future__ import annotations

import collections.abc
import concurrent.futures
import math
import typing

from keras_moe.zoo.model_card import WEIGHTS, Card, source_of

if typing.TYPE_CHECKING:
    from keras_moe.models import MoEModel
    from keras_moe.types import Tensor

Config: typing.TypeAlias = dict[str, typing.Any]


def make(model: str, config: Config) -> MoEModel:
    """The model of a class of ``keras_moe.models``.

    A ``config`` with a ``classifier`` or a ``network``, itself a table of the name ``model`` and arguments, is for
    ``from_classifier`` or ``from_network``.
    """
    from keras_moe import models

    cls, source = getattr(models, model), source_of(config)
    if source is None:
        made: MoEModel = cls(**config)
        return made
    inner = dict(config[source])
    made = getattr(cls, f"from_{source}")(**{**config, source: make(inner.pop("model"), inner)})
    return made


def make_to_load(model: str, config: Config, skip: collections.abc.Sequence[str] = ()) -> MoEModel:
    """``make``, with zeros for the weights that ``load_weights`` is about to set.

    Random values that would be thrown away take seconds: JAX compiles a function for each shape. A model made from a
    network of its own has them all the same, because it copies that network's.

    Args:
        model, config: as for ``make``.
        skip: patterns of the paths of weights that keep the values that the model is made with, as for
            ``load_weights``.
    """
    import keras

    from keras_moe.layer_state import inner_layers
    from keras_moe.weights import matches

    if source_of(config) is not None:
        return make(model, config)
    with keras.StatelessScope() as scope:  # variables have their initial values when it ends
        made = make(model, config)
        kept = []
        for weight in made.weights:
            if matches(weight.path, skip):
                kept.append((weight, scope.get_current_value(weight)))  # what the model's class gave it, or None
            elif weight._value is None:
                weight._initializer = _zeros
    for weight, value in kept:
        if value is not None:
            weight.assign(value)
    if keras.backend.backend() == "torch":
        for layer in inner_layers(made):
            layer.torch_params  # noqa: B018  # PyTorch's own record of them, which Keras keeps outside such a scope
    return made


def arguments_of(card: Card, classes: int | None = None) -> Config:
    """The arguments for ``make``: the card's, and the number of classes; None: of its labels."""
    count, source = classes or len(card.classes), source_of(card.config)
    if not count:
        return card.config
    if source is None:
        return {**card.config, "classes": count}
    return {**card.config, source: {**card.config[source], "classes": count}}


def skeleton(model: str, config: Config) -> dict[str, tuple[int, ...]]:
    """Path -> shape of the weights of a model made from name and arguments, without the memory for them."""
    import keras

    from keras_moe.layer_state import shapes_only

    def build() -> dict[str, tuple[int, ...]]:
        with keras.StatelessScope(initialize_variables=False), shapes_only():
            return {weight.path: tuple(weight.shape) for weight in make(model, config).weights}

    # A thread of its own: Keras keeps names and variables without values per thread.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(build).result()


def check_buildable(card: Card, label: str) -> None:
    """Raises ValueError unless the model of a stranger's card can be made and is as large as its card and file say.

    Nothing larger than the file is allocated.
    """
    config = arguments_of(card)
    source = source_of(config)
    try:
        if source is not None:  # its copies are in the model, so that it is no larger
            inner = dict(config[source])
            _check_size(card, _size(inner.pop("model"), inner), "at most")
        _check_size(card, _size(card.model, config), "exactly")
    except Exception as error:  # arguments of any kind can fail in any way
        raise ValueError(f"{label}: no {card.model} can be made from the card's config: {error}") from error


def _size(model: str, config: Config) -> int:
    return sum(map(math.prod, skeleton(model, config).values()))


def _check_size(card: Card, size: int, how: str) -> None:
    fits = size <= card.params if how == "at most" else size == card.params
    if not fits or 2 * size > card.file(WEIGHTS).size:
        raise ValueError(
            f"it has {size:,} parameters. Expected {how} {card.params:,}, as the card says, and 2 bytes or more for "
            f"each in {WEIGHTS}"
        )


def _zeros(shape: tuple[int, ...], dtype: str) -> Tensor:
    import numpy as np
    from keras import ops

    return ops.convert_to_tensor(np.zeros(shape, "float32"), dtype)  # `ops.zeros` is compiled for each shape on JAX
