"""What trained classifiers say of images, as labels to learn from (Hinton, Vinyals, Dean, 2015; at temperature 1)."""

import collections.abc

import keras
import numpy as np

from keras_moe.checks import check, integer, number
from keras_moe.types import Array


def distillation_targets(
    teachers: collections.abc.Sequence[keras.Model],
    images: Array,
    labels: Array,
    share: float = 0.8,
    batch_size: int = 500,
) -> Array:
    """Labels that are partly the mean prediction of teachers, for ``classification_stage(…, soft=…)``.

    Each teacher sees every image as it is and mirrored.

    Args:
        teachers: list of models that end in probabilities, ``(n, classes)``, as ``zoo.load`` makes them.
        images, labels: uint8 ``(n, h, w, c)`` and int ``(n,)``.
        share: float in [0, 1], of the teachers; the rest is the label's own.
        batch_size: int.

    Returns:
        float32 ``(n, classes)``, rows that sum to one.

    Raises:
        ValueError: no teacher, a ``share`` out of range, or a teacher whose outputs are no probabilities.
    """
    share = number("distillation_targets", "share", share, 0, 1)
    batch_size = integer("distillation_targets", "batch_size", batch_size, 1)
    check("distillation_targets", "teachers", teachers, len(teachers) > 0, "at least one model")
    views = (images, images[:, :, ::-1])
    predictions = [_probabilities(teacher, view, batch_size) for teacher in teachers for view in views]
    mean = sum(predictions) / len(predictions)
    own = np.eye(mean.shape[1], dtype="float32")[labels]
    return share * mean + (1 - share) * own


def _probabilities(teacher, images, batch_size):
    found = np.asarray(teacher.predict(images.astype("float32"), batch_size=batch_size, verbose=0), "float32")
    if (found < 0).any() or not np.allclose(found.sum(-1), 1, atol=1e-3):
        raise ValueError(
            f"distillation_targets: expected teachers that end in probabilities. Received: outputs of {teacher.name!r} "
            f"between {found.min():.3g} and {found.max():.3g}. Give it `classifier_activation='softmax'`."
        )
    return found
