"""What a data set is to training, cards, LiteRT files, insights and the command line."""

import dataclasses
import typing
from collections.abc import Callable

import numpy as np

from keras_moe.checks import plain_numbers
from keras_moe.metrics import confusion_matrix, mean_iou
from keras_moe.zoo.model_card import Data

Shape = tuple[int, ...]


class Split(typing.NamedTuple):
    """Images and their labels: classes ``(n,)``, masks ``(n, h, w)`` or larger images; ``domains`` ``(n,)``, if any."""

    images: np.ndarray
    labels: np.ndarray
    domains: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One data set.

    Args:
        name: str, as the command line names it.
        task: ``"classification"``, ``"segmentation"`` or ``"super-resolution"``.
        data: what a card says about it.
        license: str, of weights that were trained on it.
        channels: str, what the channels of an image are.
        classes: labels in the order of a model's outputs; none for super-resolution.
        load_test: ``input_shape -> Split``, the test split at the size that a model takes.
        load_calibration: ``input_shape -> images`` of the training split, which calibrate int8.
        metric: str, what ``score`` measures.
        score: ``(predictions, labels) -> float``, the larger the better.
        card_metrics: names of the measured numbers that stand in a card, the one that a model is known by first.
        unit: str, of the metrics; empty for shares of one.
        domains: names of the domains, in the order of ``Split.domains``.
        tolerance: float, what a LiteRT file may lose of ``metric``.
        can_be_shipped: bool, whether images of it may lie beside published weights.
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

    def __post_init__(self):
        plain_numbers(self, tolerance={"least": 0})


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """The share of images whose most probable class is their label."""
    return float(np.mean(predictions.argmax(-1) == labels))


def mean_iou_of(predictions: np.ndarray, masks: np.ndarray) -> float:
    """Mean IoU over the classes of ``predictions``, ``(n, h, w, classes)``."""
    return mean_iou(confusion_matrix(masks, predictions.argmax(-1), predictions.shape[-1]))
