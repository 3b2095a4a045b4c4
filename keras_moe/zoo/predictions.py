"""The labels of a classifier's outputs."""

import typing

import numpy as np

from keras_moe.checks import integer
from keras_moe.zoo.model_card import Card
from keras_moe.zoo.sources import Name, card


def decode_predictions(preds: typing.Any, name: Name | Card, top: int = 5) -> list[list[tuple[int, str, float]]]:
    """The most probable classes.

    Args:
        preds: float array or tensor ``(n, classes)``, outputs of the model ``name``.
        name: as for ``load``; or a ``Card``; or ``"imagenet"``, for outputs of a network with ``weights="imagenet"``
            (extra ``imagenet``).
        top: int, how many, at most the number of classes.

    Returns:
        List of n lists of ``top`` tuples ``(class_index: int, label: str, score: float)``, best first; of equal scores
        the lowest index first.

    Raises:
        ValueError: another shape, scores that are not finite, or ``top`` out of range.

    Example:
        >>> scores = np.array([[0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.7, 0.0, 0.2]])
        >>> zoo.decode_predictions(scores, "test_hydranet", top=2)
        [[(7, '7', 0.7), (9, '9', 0.2)]]
    """
    from keras import ops

    labels = _labels(name)
    scores = np.asarray(ops.convert_to_numpy(preds), "float64")
    if scores.ndim != 2 or scores.shape[1] != len(labels):
        raise ValueError(f"Expected `preds` of shape (n, {len(labels)}). Received: shape {scores.shape}")
    if not np.all(np.isfinite(scores)):
        raise ValueError("Expected `preds` that are finite. Received: NaN or infinity")
    top = integer("decode_predictions", "top", top, 1, len(labels))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [[(int(i), labels[i], float(row[i])) for i in best] for row, best in zip(scores, order, strict=True)]


def _labels(name: Name | Card) -> tuple[str, ...]:
    if isinstance(name, Card):
        return name.classes
    if name != "imagenet":
        return card(name).classes
    from keras_moe.models.imagenet import imagenet_labels

    return imagenet_labels()
