"""Builds a model with its weights, and copies its files."""

from __future__ import annotations

import fnmatch
import os
import pathlib
import typing

from keras_moe.checks import flag, integer
from keras_moe.files import write_bytes
from keras_moe.zoo.architecture import arguments_of, check_buildable, make, make_to_load
from keras_moe.zoo.model_card import WEIGHTS, Card, Setting, model_arguments, source_of
from keras_moe.zoo.sources import ModelSource, Name, Published, find

if typing.TYPE_CHECKING:
    from keras_moe.models import MoEModel

# A layer depends on the number of classes if and only if its name ends in "predictions".
_HEAD = "*predictions/*"


def load(
    name: Name,
    /,
    weights: str | os.PathLike[str] | None = "default",
    classes: int | None = None,
    include_top: bool = True,
    **kwargs: typing.Any,
) -> MoEModel:
    """A model of the zoo or of a model folder.

    Args:
        name: one of ``list_models()``, the path of a model folder, or ``"hf://user/repo[@revision]"``, see ``card``.
            It is given by position: ``name=`` is the model's own.
        weights: ``"default"``, its own weights; None, random weights; or the path of a ``.safetensors`` file for the
            model with these arguments.
        classes: None, its own; or int, for transfer. With another number than its own, layers whose name ends in
            ``"predictions"`` are new, with random weights; all others have the model's weights.
        include_top: bool. False: without the head; its weights in the file are ignored.
        **kwargs: further arguments of the model's class, such as ``name``, ``dtype``, ``pooling`` or ``input_shape``;
            they override the card's. Another ``rule`` of a single-gated MoE comes without the card's ``threshold``.

    Returns:
        A model of ``keras_moe.models`` with all its weights loaded.

    Raises:
        ValueError: an unknown ``name``, ``weights`` or ``classes``, or weights that do not fit.
        TypeError: an argument that the model's class does not have.
        IntegrityError, FileNotFoundError, ConnectionError, OSError: a file that is not the card's, or is not there.

    Example:
        >>> model = zoo.load("test_hydranet")
        >>> images, labels = datasets.digits()[1]
        >>> model.predict(images[:2], verbose=0).argmax(-1) == labels[:2]
        array([ True,  True])
        >>> zoo.load("test_hydranet", classes=3, classifier_activation=None).output_shape  # to fine-tune
        (None, 3)
    """
    from keras_moe.weights import load_weights

    place, classes = find(name), integer("load", "classes", classes, 1, or_none=True)
    described = place.card()
    include_top = flag("load", "include_top", include_top)
    kwargs = kwargs if include_top else {**kwargs, "include_top": False}
    if kwargs.get("rule") not in (None, described.config.get("rule", "confidence")):
        kwargs = {"threshold": None, **kwargs}  # one rule's threshold says nothing under the other
    _check_arguments(described, classes, kwargs)
    if not isinstance(place, Published):
        check_buildable(described, place.label)
    source = _source(place, described, weights)
    label = source if isinstance(source, pathlib.Path) else f"{place.label}/{WEIGHTS}"
    new_head = weights == "default" and classes not in (None, len(described.classes))
    # An argument that its layer keeps in a variable, such as `drop_below`, keeps the caller's value.
    skip = [f"*/{argument}" for argument in kwargs] + [_HEAD] * (new_head or not include_top)
    config = {"name": described.name, **arguments_of(described, classes), **kwargs}
    model = make(described.model, config) if source is None else make_to_load(described.model, config, skip)
    if described.settings:
        _apply(described.settings, model, place.label)
    if source is not None:
        load_weights(model, source, skip, label)
    return model


def download(name: Name, folder: str | os.PathLike[str], pattern: str = "*") -> list[pathlib.Path]:
    """Copies the files of a model, verified, into ``folder``: ``download(name, "app", "routed_*.tflite")``.

    Args:
        name: as for ``load``.
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
    source, folder = find(name), pathlib.Path(folder)
    described = source.card()
    files = [file for file in described.files if fnmatch.fnmatchcase(file.name, pattern)]
    if not files:
        raise ValueError(f"{source.label} has no file {pattern!r}. It has: {[file.name for file in described.files]}")
    contents = [source.fetch(file) for file in files]
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in zip(files, contents, strict=True):
        write_bytes(folder / file.name, data)
    return [folder / file.name for file in files]


def _check_arguments(described: Card, classes: int | None, kwargs: dict[str, typing.Any]) -> None:
    valid = set(model_arguments(described.model, source_of(described.config))) - {"weights", "classifier", "network"}
    names = kwargs.keys() | ({"classes"} if classes and not described.classes else set())
    if not names <= valid:
        raise TypeError(
            f"load: {described.model} has no arguments {sorted(names - valid)}. Expected some of {sorted(valid)}"
        )


def _apply(settings: tuple[Setting, ...], model: MoEModel, label: str) -> None:
    from keras_moe.settings import apply_plain

    changes: dict[str, dict[str, typing.Any]] = {}
    for setting in settings:
        changes.setdefault(setting.layer, {})[setting.attribute] = setting.value
    try:
        apply_plain(model, changes)
    except (ValueError, TypeError) as error:  # Keras makes the latter of a layer's ValueError
        raise ValueError(f"{label}: a setting of the card does not fit the model: {error}") from error


def _source(place: ModelSource, described: Card, weights: str | os.PathLike[str] | None) -> bytes | pathlib.Path | None:
    """None, verified bytes or the path of a ``.safetensors`` file."""
    if weights is None:
        return None
    if weights == "default":
        return place.fetch(described.file(WEIGHTS))
    path = pathlib.Path(weights)
    if path.suffix != ".safetensors":
        raise ValueError(
            "`weights` must be 'default', None or the path of a .safetensors file; other formats (.keras, .h5, "
            f"pickles, archives) can hold code or links and are not read. Received: weights={weights!r}"
        )
    if not path.is_file():
        raise ValueError(f"`weights` names a file that does not exist. Received: weights={weights!r}")
    return path
