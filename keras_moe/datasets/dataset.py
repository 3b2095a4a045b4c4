"""The description of a data set that training, cards, LiteRT files, insights and the command line share."""

import dataclasses
import typing
from collections.abc import Callable

import numpy as np

from keras_moe.checks import plain_numbers
from keras_moe.metrics import confusion_matrix, mean_iou
from keras_moe.zoo.model_card import Data

Shape = tuple[int, ...]


class Split(typing.NamedTuple):
    """Images and their labels.

    Args:
        images: ``(n, h, w, c)``.
        labels: classes ``(n,)``, masks ``(n, h, w)`` or larger images.
        domains: int ``(n,)``, or None.

    Example:
        >>> split = datasets.DIGITS.load_test((8, 8, 1))
        >>> split.images.shape, split.labels.shape, split.domains
        ((397, 8, 8, 1), (397,), None)
    """

    images: np.ndarray
    labels: np.ndarray
    domains: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The description of a data set.

    Args:
        name: str, for the command line.
        task: ``"classification"``, ``"segmentation"`` or ``"super-resolution"``.
        data: the ``Data`` of a card.
        license: str, of weights trained on the set.
        channels: str, the meaning of an image's channels.
        classes: labels in the order of a model's outputs; none for super-resolution.
        load_test: ``input_shape -> Split``, the test split at the size of a model's input.
        load_calibration: ``input_shape -> images`` of the training split, to calibrate int8.
        metric: str, the name of what ``score`` measures.
        score: ``(predictions, labels) -> float``, the larger the better.
        card_metrics: names of the measured numbers in a card, the headline metric first.
        unit: str, of the metrics; empty for a share of one.
        domains: names of the domains, in the order of ``Split.domains``.
        tolerance: float, the most of ``metric`` that a LiteRT file may lose.
        can_be_shipped: bool, whether its images may be published beside weights.

    Example:
        >>> digits = datasets.DIGITS
        >>> digits.task, digits.metric, digits.classes[:3]
        ('classification', 'accuracy', ('0', '1', '2'))
        >>> digits.score(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]))  # the second prediction is wrong
        0.5
    """

    name: str
    task: str
    data: Data
    license: str
    channels: str
    classes: tuple[str, ...]
    load_test: Callable[[Shape], Split]
    load_calibration: Callable[[Shape], np.ndarray]
    metric: str
    score: Callable[[np.ndarray, np.ndarray], float]
    card_metrics: tuple[str, ...]
    unit: str = ""
    domains: tuple[str, ...] = ()
    tolerance: float = 0.005
    can_be_shipped: bool = False

    def __post_init__(self) -> None:
        plain_numbers(self, tolerance={"least": 0})


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """The share of images whose most probable class is their label."""
    return float(np.mean(predictions.argmax(-1) == labels))


def mean_iou_of(predictions: np.ndarray, masks: np.ndarray) -> float:
    """Mean IoU over the classes of ``predictions``, ``(n, h, w, classes)``."""
    return mean_iou(confusion_matrix(masks, predictions.argmax(-1), predictions.shape[-1]))
