"""Builds a published model with its weights, and copies its files."""

from __future__ import annotations

import fnmatch
import os
import pathlib
import typing

from keras_moe.checks import flag, integer
from keras_moe.files import write_bytes
from keras_moe.zoo import store
from keras_moe.zoo.listing import card
from keras_moe.zoo.model_card import WEIGHTS, Card, model_arguments

if typing.TYPE_CHECKING:
    from keras_moe.models import MoEModel

# A layer depends on the number of classes if and only if its name ends in "predictions".
_HEAD = "*predictions/*"


def load(
    name: str,
    /,
    weights: str | os.PathLike[str] | None = "default",
    classes: int | None = None,
    include_top: bool = True,
    **kwargs: typing.Any,
) -> MoEModel:
    """A published model.

    Args:
        name: str, one of ``list_models()``; by position, since ``name=`` is the model's own.
        weights: ``"default"``, the published weights; None, random weights; or the path of a ``.safetensors`` file for
            the model with these arguments.
        classes: None, as published; or int, for transfer. With another number than the published one, layers whose name
            ends in ``"predictions"`` are new, with random weights; all others have the published weights.
        include_top: bool. False: without the head; its weights in the file are ignored.
        **kwargs: further arguments of the model's class, such as ``name``, ``dtype``, ``pooling`` or ``input_shape``;
            they override the card's.

    Returns:
        A model of ``keras_moe.models`` with all its weights loaded.

    Raises:
        ValueError: an unknown ``name``, ``weights`` or ``classes``, or weights that do not fit.
        TypeError: an argument that the model's class does not have.
        IntegrityError, FileNotFoundError, ConnectionError, OSError: see ``store.fetch``.

    Example:
        >>> model = zoo.load("test_hydranet")
        >>> images, labels = datasets.digits()[1]
        >>> model.predict(images[:2], verbose=0).argmax(-1) == labels[:2]
        array([ True,  True])
        >>> zoo.load("test_hydranet", classes=3, classifier_activation=None).output_shape  # to fine-tune
        (None, 3)
    """
    from keras_moe import models
    from keras_moe.weights import load_weights

    described, classes = card(name), integer("load", "classes", classes, 1, or_none=True)
    include_top = flag("load", "include_top", include_top)
    head = {} if classes is None else {"classes": classes}
    head |= {} if include_top else {"include_top": False}
    _check_arguments(described, head, kwargs)
    source = _source(described, weights)
    label = source if isinstance(source, pathlib.Path) else f"{name}/{WEIGHTS}"
    published = {"classes": len(described.classes)} if described.classes else {}
    arguments = {"name": name, **described.config, **published, **head, **kwargs}
    model: MoEModel = getattr(models, described.model)(**arguments)
    if source is not None:
        new_head = weights == "default" and classes not in (None, len(described.classes))
        # An argument that its layer keeps in a variable, such as `drop_below`, keeps the caller's value.
        skip = [f"*/{argument}" for argument in kwargs] + [_HEAD] * (new_head or not include_top)
        load_weights(model, source, skip, label)
    return model


def download(name: str, folder: str | os.PathLike[str], pattern: str = "*") -> list[pathlib.Path]:
    """Copies published files of a model, verified, into ``folder``: ``download(name, "app", "routed_*.tflite")``.

    Args:
        name: str, one of ``list_models()``.
        folder: of the copies; made if need be.
        pattern: str, as in ``fnmatch``, of the file names in the card.

    Returns:
        List of ``pathlib.Path``.

    Raises:
        ValueError: an unknown ``name``, or no file of the card matches.
        IntegrityError, FileNotFoundError, ConnectionError, OSError: see ``store.fetch``.

    Example:
        >>> [path.name for path in zoo.download("test_hydranet", "app", "weights*")]
        ['weights.safetensors']
    """
    described, folder = card(name), pathlib.Path(folder)
    files = [file for file in described.files if fnmatch.fnmatchcase(file.name, pattern)]
    if not files:
        raise ValueError(f"{name} has no file {pattern!r}. It has: {[file.name for file in described.files]}")
    contents = [store.fetch(name, file) for file in files]
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in zip(files, contents, strict=True):
        write_bytes(folder / file.name, data)
    return [folder / file.name for file in files]


def _check_arguments(described: Card, head: dict[str, typing.Any], kwargs: dict[str, typing.Any]) -> None:
    valid = set(model_arguments(described.model)) - {"weights"}
    unknown = sorted((head.keys() | kwargs.keys()) - valid)
    if unknown:
        raise TypeError(f"load: {described.model} has no arguments {unknown}. Expected some of {sorted(valid)}")


def _source(described: Card, weights: str | os.PathLike[str] | None) -> bytes | pathlib.Path | None:
    """None, verified bytes or the path of a ``.safetensors`` file."""
    if weights is None:
        return None
    if weights == "default":
        return store.fetch(described.name, described.file(WEIGHTS))
    path = pathlib.Path(weights)
    if path.suffix != ".safetensors":
        raise ValueError(
            "`weights` must be 'default', None or the path of a .safetensors file; other formats (.keras, .h5, "
            f"pickles, archives) can hold code or links and are not read. Received: weights={weights!r}"
        )
    if not path.is_file():
        raise ValueError(f"`weights` names a file that does not exist. Received: weights={weights!r}")
    return path
