"""Checks of the arguments of ``compress``, before the training process starts."""

import collections.abc
import functools

import keras
import numpy as np

from keras_moe.checks import check, class_labels
from keras_moe.graph import is_functional
from keras_moe.layers import ExpertBank
from keras_moe.models.base import MoEModel
from keras_moe.types import Array

_check = functools.partial(check, "compress")


def networks(model: keras.Model, parts: collections.abc.Sequence[str] | None = None) -> list[str] | None:
    """Names of the top-level layers that are compressed; None: the whole model, as one network.

    Raises:
        ValueError: not a functional model, unknown parts, or parts without a network that could be compressed.
    """
    mixture = isinstance(model, MoEModel)
    if not mixture and (parts is not None or not is_functional(model)):
        raise ValueError(
            "compress: expected an MoEModel, or a functional or Sequential model, and then no `parts`. Received: "
            f"{type(model).__name__}, parts={parts!r}"
        )
    if parts is None and (not mixture or model.bank is None):
        return None
    if parts is None:
        parts = [part for part, layers in model.parts.items() if model.bank in layers]
    part_names = sorted(model.parts)
    _check(
        "parts", parts, not isinstance(parts, str) and set(parts) <= set(part_names), f"None or some of {part_names}"
    )
    chosen = [layer for part in parts for layer in model.parts[part]]
    network_names = [layer.name for layer in chosen if isinstance(layer, ExpertBank) or is_functional(layer)]
    _check("parts", parts, network_names, "parts that hold a functional network with weights")
    return network_names


def check_data(model: keras.Model, images: Array, labels: Array) -> None:
    """Raises ValueError unless ``model`` can be trained as a classifier of ``images``."""
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        raise ValueError(f"compress: expected a classifier, images to (n, classes). Received: {model.name!r}")
    input_shape = tuple(model.inputs[0].shape[1:])
    fits = images.ndim == len(input_shape) + 1 and all(
        w in (None, s) for w, s in zip(input_shape, images.shape[1:], strict=True)
    )
    if not fits or not np.all(np.isfinite(images)):
        raise ValueError(
            f"compress: expected finite images (n, {', '.join(map(str, input_shape))}). Received: shape {images.shape}"
        )
    class_labels("compress", "train", labels, (len(images),), model.outputs[0].shape[-1])


def check_reached(model: keras.Model, names: list[str] | None, images: Array) -> None:
    """Raises ValueError where an expert gets no image: it would be compressed, and its ranges guessed, from nothing."""
    if names is None or model.bank is None or model.bank.name not in names:
        return
    chosen = np.any(model.route(images) != 0, axis=0)
    idle = [expert.name for expert, some in zip(model.bank.experts, chosen, strict=True) if not some]
    if idle:
        raise ValueError(f"compress: the gate sends none of the {len(images)} images to {idle}. Give more images.")
