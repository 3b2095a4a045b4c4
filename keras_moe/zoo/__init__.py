"""The zoo: published models by name, each with a card.

>>> from keras_moe import zoo
>>> zoo.list_models("hydranet*")
>>> model = zoo.load(zoo.list_models("hydranet*")[0])

Loading runs nothing that came with the weights: the architecture is code of this package, and the weights are named
arrays whose sha256 is checked before they are parsed.
"""

import difflib
import fnmatch
import pathlib

import numpy as np
from keras import ops

from keras_moe import models
from keras_moe.checks import IntegrityError as IntegrityError
from keras_moe.checks import flag, integer
from keras_moe.models.imagenet import imagenet_labels
from keras_moe.weights import load_weights, write_bytes
from keras_moe.zoo import store
from keras_moe.zoo.model_card import TASKS, WEIGHTS, model_arguments, read_card
from keras_moe.zoo.model_card import Card as Card

# Layers whose name ends in "predictions" are those that depend on the number of classes.
_HEAD = "*predictions/*"


def list_models(pattern="*", task=None):
    """Names of the published models, sorted.

    Args:
        pattern: str, as in ``fnmatch``: ``"hydranet*"``.
        task: None, ``"classification"``, ``"segmentation"`` or ``"super-resolution"``.

    Raises:
        ValueError: an unknown ``task``.
    """
    if task not in (None, *TASKS):
        raise ValueError(f"`task` must be None or one of {TASKS}. Received: task={task!r}")
    folders = (path.parent.name for path in store.published_folder().glob("*/card.toml"))
    names = sorted(name for name in folders if fnmatch.fnmatchcase(name, pattern))
    return [name for name in names if task is None or card(name).task == task]


def card(name):
    """The ``Card`` of a published model. Raises ValueError for an unknown name."""
    names = list_models()
    if name not in names:
        near = difflib.get_close_matches(str(name), names)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"Unknown model {name!r}.{hint} The zoo has: {names}")
    return read_card(store.published_folder() / name / "card.toml")


def load(name, /, weights="default", classes=None, include_top=True, **kwargs):
    """A published model.

    Args:
        name: str, one of ``list_models()``; by position, since ``name=`` is the model's own.
        weights: ``"default"``, the published ones; None, random ones; or the path of a ``.safetensors`` file that fits
            the model as it is asked for here.
        classes: None, as published; or int, for transfer. A number other than the published gives the layers whose
            name ends in ``"predictions"`` anew, with random weights; all others keep the published ones.
        include_top: bool. False: without the head, whose weights in the file are not looked at.
        **kwargs: further arguments of the model's class, such as ``name``, ``dtype``, ``pooling`` or ``input_shape``;
            they go before those of the card.

    Returns:
        A model of ``keras_moe.models``, wholly loaded or not returned at all.

    Raises:
        ValueError: an unknown ``name``, ``weights`` or ``classes``, or weights that do not fit.
        TypeError: an argument that the model's class does not have.
        IntegrityError, FileNotFoundError, ConnectionError, OSError: see ``store.fetch``.
    """
    described, classes = card(name), integer("load", "classes", classes, 1, or_none=True)
    include_top = flag("load", "include_top", include_top)
    head = {} if classes is None else {"classes": classes}
    head |= {} if include_top else {"include_top": False}
    _check_arguments(described, head, kwargs)
    source = _source(described, weights)
    label = source if isinstance(source, pathlib.Path) else f"{name}/{WEIGHTS}"
    published = {"classes": len(described.classes)} if described.classes else {}
    arguments = {"name": name, **described.config, **published, **head, **kwargs}
    model = getattr(models, described.model)(**arguments)
    if source is not None:
        new_head = weights == "default" and classes not in (None, len(described.classes))
        # An argument that its layer keeps in a variable, such as `drop_below`, stays what the caller asked for.
        skip = [f"*/{argument}" for argument in kwargs] + [_HEAD] * (new_head or not include_top)
        load_weights(model, source, skip, label)
    return model


def download(name, folder, pattern="*"):
    """Copies published files of a model, verified, into ``folder``: ``download(name, "app", "routed_*.tflite")``.

    Args:
        name: str, one of ``list_models()``.
        folder: where to; made if need be.
        pattern: str, as in ``fnmatch``, of the file names in the card.

    Returns:
        List of ``pathlib.Path``.

    Raises:
        ValueError: an unknown ``name``, or no file of the card matches.
        IntegrityError, FileNotFoundError, ConnectionError, OSError: see ``store.fetch``.
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


def decode_predictions(preds, name, top=5):
    """The most probable classes.

    Args:
        preds: float array or tensor ``(n, classes)``, outputs of the published model ``name``.
        name: str; or ``"imagenet"``, for outputs of a network with ``weights="imagenet"`` (extra ``imagenet``).
        top: int, how many, at most the number of classes.

    Returns:
        List of n lists of ``top`` tuples ``(class_index: int, label: str, score: float)``, best first; of equal scores
        the lowest index first.

    Raises:
        ValueError: another shape, scores that are not finite, or ``top`` out of range.
    """
    labels = imagenet_labels() if name == "imagenet" else card(name).classes
    scores = np.asarray(ops.convert_to_numpy(preds), "float64")
    if scores.ndim != 2 or scores.shape[1] != len(labels):
        raise ValueError(f"Expected `preds` of shape (n, {len(labels)}). Received: shape {scores.shape}")
    if not np.all(np.isfinite(scores)):
        raise ValueError("Expected `preds` that are finite. Received: NaN or infinity")
    top = integer("decode_predictions", "top", top, 1, len(labels))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [[(int(i), labels[i], float(row[i])) for i in best] for row, best in zip(scores, order, strict=True)]


def _check_arguments(described, head, kwargs):
    valid = set(model_arguments(described.model)) - {"weights"}
    unknown = sorted((head.keys() | kwargs.keys()) - valid)
    if unknown:
        raise TypeError(f"load: {described.model} has no arguments {unknown}. Expected some of {sorted(valid)}")


def _source(described, weights):
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
