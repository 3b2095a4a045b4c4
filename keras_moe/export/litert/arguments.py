"""Checks of the arguments of ``litert``, before anything is computed."""

import pathlib
import typing

import numpy as np

from keras_moe.checks import check
from keras_moe.export.litert.convert import QUANTIZATIONS
from keras_moe.labels import checked
from keras_moe.models import MoEModel
from keras_moe.types import Array, Shape

FORMS = ("routed", "parts", "dense")
PRECISIONS = (None, "int8", "float")


def check_model(model: typing.Any) -> None:
    """Raises ValueError unless ``model`` is an ``MoEModel`` in float32 of known input size."""
    if not isinstance(model, MoEModel):
        raise ValueError(f"litert: `model` must be a model of keras_moe.models. Received: {type(model).__name__}")
    if model.compute_dtype != "float32":
        raise ValueError(f"litert: the model must compute in float32; load it so. Received: {model.compute_dtype}")
    if None in model.input_shape[1:]:
        raise ValueError(f"litert: the input size must be known. Received: input shape {model.input_shape}")


def check_form(
    path: pathlib.Path, form: str, quantize: str | None, calibrated: bool, trunk_precision: str | None
) -> None:
    """Raises ValueError unless such a file can be written; ``calibrated``: whether there are images to do it with."""
    check("litert", "form", form, form in FORMS, f"one of {FORMS}")
    check("litert", "quantize", quantize, quantize in QUANTIZATIONS, f"one of {QUANTIZATIONS}")
    valid = trunk_precision in PRECISIONS
    check("litert", "trunk_precision", trunk_precision, valid, "None, 'int8' or 'float'")
    fits = trunk_precision is None or (form, quantize) == ("routed", "int8")
    check("litert", "trunk_precision", trunk_precision, fits, f"None for form={form!r}, quantize={quantize!r}")
    suffix = ".json" if form == "parts" else ".tflite"
    check("litert", "path", str(path), path.suffix == suffix, f"a {suffix} file for form={form!r}")
    check("litert", "representative_dataset", None, quantize != "int8" or calibrated, "images, to calibrate int8")


def checked_labels(model: MoEModel, labels: typing.Any) -> list[str]:
    """``labels`` as a list: one for each class of the model, or none."""
    names = checked("litert", labels)
    classes = model.output_shape[-1] if model.output_kind == "classes" else 0
    if len(names) not in (0, classes):
        raise ValueError(
            f"litert: `labels` must name each of the {classes} classes of {model.name!r}, or none. Received: "
            f"{len(names)} labels"
        )
    return names


def checked_images(name: str, images: typing.Any, shape: Shape) -> Array:
    """``images``, the argument ``name``, as a finite float32 array ``(n, *shape)``."""
    expected = f"an array of images (n >= 1, {', '.join(map(str, shape))})"
    try:
        array = np.asarray(images)
    except ValueError as error:  # a list of images of several sizes
        raise ValueError(f"litert: `{name}` must be {expected}. Received: {type(images).__name__}, {error}") from error
    if array.dtype == object:
        raise ValueError(
            f"litert: `{name}` must be {expected}. Received: {type(images).__name__}. Make an array of what it yields: "
            "np.stack of a list of images, np.concatenate of a list of batches."
        )
    if array.ndim != 4 or array.shape[1:] != tuple(shape) or not len(array):
        raise ValueError(f"litert: `{name}` must be {expected}. Received: shape {array.shape}")
    floats: Array = array.astype("float32")
    if not np.all(np.isfinite(floats)):
        raise ValueError(f"litert: `{name}` must be finite. Received: NaN or infinity")
    return floats


def noise(shape: tuple[int, ...]) -> Array:
    """Images to compare file and model on, where none were given."""
    return np.random.default_rng(0).uniform(0, 255, (16, *shape)).astype("float32")
