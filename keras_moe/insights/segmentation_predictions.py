"""Predictions of a segmentation network and of its experts, pixel by pixel."""

import collections.abc
import dataclasses
import functools

import numpy as np

from keras_moe.insights.expert_predictions import ExpertPredictions, collect_expert_predictions
from keras_moe.insights.measures.summary import Summary, summarize
from keras_moe.insights.samples import Samples
from keras_moe.metrics import IGNORE, confusion_matrix, iou, mean_iou
from keras_moe.models import MoEModel

MAX_PIXELS = 2_000_000  # whose probabilities are held at once
_CHUNK = 16  # images


@dataclasses.dataclass(frozen=True)
class SegmentationPredictions:
    """Numbers on n images and their pixels; what needs masks is None where there are none.

    Attributes:
        pixels: ``Summary`` of every ``step``-th pixel in both directions that has a label (all, without masks).
        step: int.
        image: int ``(pixels,)``, the image of each of these pixels.
        route: the routing weights, ``(n, experts)``, ``(n, classes, experts)`` or ``(n, h, w, experts)``.
        pixel_route: float ``(pixels, experts)``, the weights at each of these pixels, see ``per_pixel``.
        weights: float ``(n, experts)``, the mean weight over an image's pixels.
        groups: list of str, the groups of images; ``group`` int ``(n,)``, that of each image.
        confusion: int ``(1 + experts, groups, classes, classes)`` of all labelled pixels: the model's, then that of
            each expert alone.
        right: float ``(n,)``, the share of an image's pixels that are right; NaN for one without a label.

    Example:
        >>> model = zoo.load("test_segmentation")
        >>> samples = insights.Samples(np.zeros((2, 16, 16, 1)), np.zeros((2, 16, 16), int), "two black images")
        >>> predictions = insights.collect_segmentation_predictions(model, samples)
        >>> predictions.confusion.shape, predictions.confusion[0].sum()  # 2 x 16 x 16 pixels
        ((3, 1, 4, 4), np.int64(512))
    """

    pixels: Summary
    step: int
    image: np.ndarray
    route: np.ndarray
    pixel_route: np.ndarray
    weights: np.ndarray
    groups: list[str]
    group: np.ndarray
    confusion: np.ndarray
    right: np.ndarray | None = None

    @property
    def miou(self) -> np.ndarray:
        """float ``(1 + experts, groups)``.

        Example:
            >>> samples = insights.Samples(np.zeros((1, 16, 16, 1)), np.zeros((1, 16, 16), int), "a black image")
            >>> predictions = insights.collect_segmentation_predictions(zoo.load("test_segmentation"), samples)
            >>> predictions.miou.shape  # the model and two experts, one group
            (3, 1)
        """
        return np.array([[mean_iou(c) for c in groups] for groups in self.confusion])

    @property
    def total_miou(self) -> np.ndarray:
        """float ``(1 + experts,)``, of all groups together.

        Example:
            >>> samples = insights.Samples(np.zeros((1, 16, 16, 1)), np.zeros((1, 16, 16), int), "a black image")
            >>> predictions = insights.collect_segmentation_predictions(zoo.load("test_segmentation"), samples)
            >>> np.array_equal(predictions.total_miou, predictions.miou[:, 0])  # of one group the same
            True
        """
        return np.array([mean_iou(c) for c in self.confusion.sum(1)])

    @property
    def iou(self) -> np.ndarray:
        """float ``(1 + experts, classes)``.

        Example:
            >>> samples = insights.Samples(np.zeros((1, 16, 16, 1)), np.zeros((1, 16, 16), int), "a black image")
            >>> predictions = insights.collect_segmentation_predictions(zoo.load("test_segmentation"), samples)
            >>> predictions.iou.shape  # the model and two experts, four classes
            (3, 4)
        """
        return np.array([iou(c) for c in self.confusion.sum(1)])

    def mean(self, values: np.ndarray) -> np.ndarray:
        """``values`` of pixels, ``(pixels,)``, averaged for each image: float ``(n,)``, NaN where there are none.

        Example:
            >>> samples = insights.Samples(np.zeros((1, 16, 16, 1)), None, "a black image")
            >>> predictions = insights.collect_segmentation_predictions(zoo.load("test_segmentation"), samples)
            >>> predictions.mean(np.ones(16 * 16))
            array([1.])
        """
        counts = np.bincount(self.image, minlength=len(self.route))
        sums = np.bincount(self.image, values, minlength=len(self.route))
        means: np.ndarray = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        return means


def collect_segmentation_predictions(
    model: MoEModel, samples: Samples, track: collections.abc.Callable[..., collections.abc.Iterable[int]] = iter
) -> SegmentationPredictions:
    """Asks a segmentation network and each of its experts about images, a few at a time.

    A dense network counts as a mixture of one expert, itself.

    Args:
        model: an ``MoEModel`` from images to probabilities ``(n, h, w, classes)``.
        samples: ``Samples`` with masks or without.
        track: wraps the iteration over the images, as ``rich.progress.track`` does.

    Returns:
        The ``SegmentationPredictions``.

    Raises:
        ValueError: as ``collect_expert_predictions``.

    Example:
        >>> model = zoo.load("test_segmentation")
        >>> samples = insights.Samples(np.zeros((1, 16, 16, 1)), None, "a black image")
        >>> predictions = insights.collect_segmentation_predictions(model, samples)
        >>> predictions.weights.shape, predictions.pixels.unit, predictions.right
        ((1, 2), 'pixels', None)
    """
    images, masks = samples.images, samples.labels
    names = ["all"] if samples.groups is None else sorted(set(samples.groups))
    group = np.zeros(len(images), int) if samples.groups is None else np.searchsorted(names, samples.groups)
    step = int(np.ceil(np.sqrt(np.prod(images.shape[:3]) / MAX_PIXELS)))
    chunks, confusions = [], []
    for i in track(range(0, len(images), _CHUNK)):
        rows = slice(i, i + _CHUNK)
        predictions = predict_pixels(model, images[rows])
        labels = np.full(predictions.predicted_labels.shape, IGNORE) if masks is None else masks[rows]
        confusions.append(_confusion(predictions, labels, group[rows], len(names)))
        chunks.append(_pixels(predictions, None if masks is None else labels, step, i))
    probabilities, experts, pixel_route, gate, labels, image, weights, route = (
        np.concatenate(arrays, axis=1 if k == 1 else 0) for k, arrays in enumerate(zip(*chunks, strict=True))
    )
    pixels = ExpertPredictions(probabilities, experts, pixel_route, gate)
    summary = summarize(pixels, None if masks is None else labels, "pixels")
    collected = SegmentationPredictions(
        summary, step, image, route, pixel_route, weights, names, group, np.sum(confusions, axis=0)
    )
    right = None if summary.right is None else collected.mean(summary.right)
    return dataclasses.replace(collected, right=right)


def predict_pixels(model: MoEModel, images: np.ndarray) -> ExpertPredictions:
    """``ExpertPredictions`` of pixels; of a dense network those of a mixture of one expert, itself."""
    if model.gate is not None:
        return collect_expert_predictions(model, images, _CHUNK)
    probabilities = np.asarray(model.predict(images, batch_size=_CHUNK, verbose=0), "float32")
    weights = np.ones((len(images), 1), "float32")
    return ExpertPredictions(probabilities, probabilities[None], weights, weights)


def per_pixel(weights: np.ndarray, predicted_labels: np.ndarray) -> np.ndarray:
    """A gate's weights for every pixel.

    Args:
        weights: ``(n, experts)``, ``(n, classes, experts)`` or, of a map, ``(n, h', w', experts)``.
        predicted_labels: int ``(n, h, w)``, by which a gate per class weighs a pixel.

    Returns:
        ``(n, h, w, experts)``.
    """
    n, h, w = predicted_labels.shape
    if weights.ndim == 2:
        return np.broadcast_to(weights[:, None, None], (n, h, w, weights.shape[-1]))
    if weights.ndim == 3:
        of_class: np.ndarray = weights[np.arange(n)[:, None, None], predicted_labels]
        return of_class
    # A cell of the map holds for the pixels it covers; nearest, whatever the model interpolates.
    rows, columns = (np.arange(a) * b // a for a, b in zip((h, w), weights.shape[1:3], strict=True))
    of_cell: np.ndarray = weights[:, rows[:, None], columns]
    return of_cell


def _pixels(predictions: ExpertPredictions, masks: np.ndarray | None, step: int, first: int) -> tuple[np.ndarray, ...]:
    """Of the pixels on a grid that have a label: probabilities, those of experts, route, gate, label and image; then
    mean weights and route of the images. ``first``: the number of the first image."""
    grid = (slice(None), slice(None, None, step), slice(None, None, step))
    predicted = predictions.predicted_labels
    labels = predicted[grid] if masks is None else masks[grid]
    counted = labels != IGNORE if masks is not None else np.ones(labels.shape, bool)
    route = per_pixel(predictions.route, predicted)
    gate = per_pixel(predictions.gate_probabilities, predicted)
    image = first + np.broadcast_to(np.arange(len(labels))[:, None, None], labels.shape)
    experts = predictions.expert_probabilities[(slice(None), *grid)]
    return (
        predictions.probabilities[grid][counted], experts[:, counted], route[grid][counted], gate[grid][counted],
        labels[counted].astype("int64"), image[counted], route.mean((1, 2)), predictions.route,
    )  # fmt: skip


def _confusion(predictions: ExpertPredictions, masks: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    count = functools.partial(confusion_matrix, classes=predictions.probabilities.shape[-1])
    networks = [predictions.predicted_labels, *predictions.expert_labels]
    return np.array([[count(masks[group == g], labels[group == g]) for g in range(groups)] for labels in networks])
