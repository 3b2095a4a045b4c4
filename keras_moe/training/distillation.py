"""Predictions of trained classifiers as labels (Hinton, Vinyals, Dean, 2015; at temperature 1)."""

import functools
from collections.abc import Sequence

import keras
import numpy as np

from keras_moe.checks import check, class_labels, integer, number
from keras_moe.types import Array


def distillation_targets(
    teachers: Sequence[keras.Model],
    images: Array,
    labels: Array,
    share: float = 0.8,
    batch_size: int = 500,
) -> Array:
    """A blend of labels and the mean prediction of teachers, for ``classification_stage(…, soft_targets=…)``.

    Each teacher sees every image twice, once mirrored.

    Args:
        teachers: list of models that end in probabilities, ``(n, classes)``, as ``zoo.load`` makes them.
        images, labels: uint8 ``(n, h, w, c)`` and int ``(n,)``.
        share: float in [0, 1], of the teachers; the label has the rest.
        batch_size: int.

    Returns:
        float32 ``(n, classes)``, rows that sum to one.

    Raises:
        ValueError: no teacher, a ``share`` out of range, a teacher whose outputs are no probabilities, or labels that
            are none of its classes, one for each image.

    Example:
        >>> images, labels = datasets.digits()[1]
        >>> teacher = zoo.load("test_hydranet")
        >>> soft_targets = training.distillation_targets([teacher], images[:4], labels[:4], share=0.4)
        >>> soft_targets.shape
        (4, 10)
        >>> bool(np.all(soft_targets[np.arange(4), labels[:4]] >= 0.6))
        True
    """
    share = number("distillation_targets", "share", share, 0, 1)
    batch_size = integer("distillation_targets", "batch_size", batch_size, 1)
    check("distillation_targets", "teachers", teachers, len(teachers) > 0, "at least one model")
    views = (images, images[:, :, ::-1])
    predictions = [_probabilities(teacher, view, batch_size) for teacher in teachers for view in views]
    mean: Array = functools.reduce(np.add, predictions) / len(predictions)
    labels = class_labels("distillation_targets", "labels", labels, (len(images),), mean.shape[1])
    one_hot: Array = np.eye(mean.shape[1], dtype="float32")[labels]
    return share * mean + (1 - share) * one_hot


def _probabilities(teacher: keras.Model, images: Array, batch_size: int) -> Array:
    outputs = np.asarray(teacher.predict(images.astype("float32"), batch_size=batch_size, verbose=0), "float32")
    if (outputs < 0).any() or not np.allclose(outputs.sum(-1), 1, atol=1e-3):
        raise ValueError(
            f"distillation_targets: expected teachers that end in probabilities. Received: outputs of {teacher.name!r} "
            f"between {outputs.min():.3g} and {outputs.max():.3g}. Give it `classifier_activation='softmax'`."
        )
    return outputs
