"""Saves a model as a model folder."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing
from collections.abc import Mapping, Sequence

import numpy as np

from keras_moe.checks import check, flag
from keras_moe.files import to_json
from keras_moe.labels import checked
from keras_moe.zoo.calibration import SHEET, to_sheet
from keras_moe.zoo.describing import describe
from keras_moe.zoo.model_card import WEIGHTS, Card, Input
from keras_moe.zoo.writing import check_target, pin, write_folder

if typing.TYPE_CHECKING:
    from keras_moe.models import MoEModel
    from keras_moe.types import Array, Path

_DTYPES = ("float32", "float16")
_CHANNELS = {1: "grey", 3: "RGB", 4: "RGBA"}


def save(
    model: MoEModel,
    folder: Path,
    *,
    labels: Sequence[str] | None = None,
    overwrite: bool = False,
    dtype: str = "float32",
    classifier_activation: str | None = "same",
    calibration: Array | None = None,
    golden: Mapping[str, Array] | None = None,
    records: Mapping[str, object] | None = None,
    **fields: typing.Any,
) -> Card:
    """Writes a model folder. Functions that take a published name take the folder, too.

    The folder has ``card.toml``, ``weights.safetensors`` and, for classes, ``labels.txt``. It is written whole or not
    at all: after an error or a crash, what was there is there as it was.

    Args:
        model: a model of ``keras_moe.models`` that its class makes from arguments.
        folder: path of the new folder; the one above it must exist.
        labels: names of the classes in the order of the outputs; None: ``"0"``, ``"1"``, ….
        overwrite: bool, whether to replace the model that is in ``folder``. Files of another kind stay.
        dtype: ``"float32"``, or ``"float16"`` to store the weights in half the space.
        classifier_activation: ``"same"``; or ``"softmax"`` for a classifier of logits, to be loaded with probabilities.
        calibration: images ``(n, height, width, channels)`` in [0, 255], which int8 files are calibrated with later. At
            most 80 are kept, rounded to whole numbers, in ``calibration.webp``; all who get the folder can see them.
        golden: dict of arrays, ``"images"``, their ``"outputs"`` and perhaps ``"route"``, to tell later that a loaded
            model is the saved one: ``golden.safetensors``.
        records: dict, name -> what JSON can hold, such as ``{"log": history}``: ``log.json``.
        **fields: further fields of the ``Card``, such as ``name``, ``summary``, ``license``, ``data`` and ``metrics``.

    Returns:
        The ``Card``. Its name is that of the folder, its ``macs_executed`` the mean of the calibration images, or else
        of crops of two photographs, unless they are given.

    Raises:
        ValueError: a model that a card cannot describe, such as one from a network of your own, with LoRA or quantized
            (``model.save("x.keras")`` keeps it); weights that are not finite; or an argument that does not fit.
        FileExistsError: ``folder`` holds a model and ``overwrite`` is False, or something else.
        OSError: ``folder`` cannot be written.

    Example:
        >>> model = keras_moe.models.HydraNet((8, 8, 3), backbone="resnet8", num_experts=4, classes=2)
        >>> card = zoo.save(model, "pets", labels=["cat", "dog"], license="CC0-1.0")
        >>> again, images = zoo.load("pets"), np.ones((1, 8, 8, 3))
        >>> np.array_equal(again.predict(images, verbose=0), model.predict(images, verbose=0))
        True
        >>> zoo.card("pets").classes
        ('cat', 'dog')
    """
    from keras_moe.weights import serialized, to_bytes

    overwrite, path = flag("save", "overwrite", overwrite), pathlib.Path(folder)
    check("save", "dtype", dtype, dtype in _DTYPES, f"one of {_DTYPES}")
    check_target(path, overwrite)
    described = describe(model, classifier_activation)
    shape = tuple(model.input_shape[1:])
    pinned = {WEIGHTS: serialized(model, None if dtype == "float32" else dtype)}
    if calibration is not None:
        takes = described["range"]
        check("save", "calibration", "images", takes == "[0, 255]", f"None for a model that takes {takes}")
        pinned[SHEET] = to_sheet(calibration, shape)
    if golden is not None:
        pinned["golden.safetensors"] = to_bytes(dict(golden))
    values: dict[str, typing.Any] = {
        "name": _plain_name(path),
        "classes": _labels(model, described["task"], labels),
        "params": model.count_params(),
        "macs_total": model.macs_total,
        "input": Input(shape, described.pop("range"), _CHANNELS.get(shape[2], f"{shape[2]} channels")),
        **described,
        **fields,
        "files": tuple(pin(name, data) for name, data in pinned.items()),
    }
    if "macs_executed" not in values:
        values["macs_executed"] = _macs_executed(model, shape, calibration)
    card = _card(values)
    plain = {f"{name}.json": to_json(value) for name, value in (records or {}).items()}
    write_folder(path, card, pinned | plain, overwrite)
    return card


def _card(values: Mapping[str, typing.Any]) -> Card:
    fields = [field.name for field in dataclasses.fields(Card)]
    unknown = sorted(values.keys() - set(fields))
    if unknown:
        raise TypeError(f"save: a card has no fields {unknown}. Expected some of {fields}")
    return Card(**values)


def _labels(model: MoEModel, task: str, labels: Sequence[str] | None) -> tuple[str, ...]:
    count = 0 if task == "super-resolution" else int(model.output_shape[-1])
    if labels is None:
        return tuple(map(str, range(count)))
    names = checked("save", labels)
    check("save", "labels", names, len(names) == count, f"{count} names of classes")
    return tuple(names)


def _macs_executed(model: MoEModel, shape: tuple[int, ...], images: Array | None) -> float:
    from keras_moe.images import crops

    if model.bank is None:
        return float(model.macs_total)
    if images is not None:
        return float(model.mean_macs(images=np.asarray(images)))
    images = crops((*shape[:2], min(shape[2], 3)), 16)
    return float(model.mean_macs(images=images[..., [i % images.shape[-1] for i in range(shape[2])]]))


def _plain_name(path: pathlib.Path) -> str:
    """A card's name for a folder: ``"My Flowers"`` -> ``"my_flowers"``."""
    name = re.sub(r"[^a-z0-9_-]+", "_", path.resolve().name.lower()).strip("_-")
    return name[:100] or "model"
