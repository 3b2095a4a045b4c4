"""What a segmentation network and its experts make of images, pixel by pixel: ``look``."""

import dataclasses
import functools

import numpy as np

from keras_moe.insights.expert_predictions import ExpertPredictions, collect_expert_predictions
from keras_moe.insights.report import summary
from keras_moe.metrics import IGNORE, confusion_matrix, iou, mean_iou

MOST = 2_000_000  # pixels whose probabilities are held at once
_CHUNK = 16  # images


@dataclasses.dataclass(frozen=True)
class Scenes:
    """Numbers on n images and their pixels; what needs masks is None where there are none.

    Attributes:
        pixels: ``Findings`` of every ``step``-th pixel in both directions that has a label (all, without masks).
        step: int.
        image: int ``(pixels,)``, the image of each of these pixels.
        route: the gate's weights, ``(n, experts)``, ``(n, classes, experts)`` or ``(n, h, w, experts)``.
        pixel_route: float ``(pixels, experts)``, the weights at each of these pixels, see ``per_pixel``.
        weights: float ``(n, experts)``, the mean weight over an image's pixels.
        groups: list of str, the groups of images; ``group`` int ``(n,)``, that of each image.
        confusion: int ``(1 + experts, groups, classes, classes)`` of all labelled pixels: the answer, then each expert
            alone.
        right: float ``(n,)``, the share of an image's pixels that are right; NaN for one without a label.
    """

    pixels: summary.Findings
    step: int
    image: np.ndarray
    route: np.ndarray
    pixel_route: np.ndarray
    weights: np.ndarray
    groups: list
    group: np.ndarray
    confusion: np.ndarray
    right: np.ndarray | None = None

    @property
    def miou(self):
        """float ``(1 + experts, groups)``."""
        return np.array([[mean_iou(c) for c in groups] for groups in self.confusion])

    @property
    def total_miou(self):
        """float ``(1 + experts,)``, of all groups together."""
        return np.array([mean_iou(c) for c in self.confusion.sum(1)])

    @property
    def iou(self):
        """float ``(1 + experts, classes)``."""
        return np.array([iou(c) for c in self.confusion.sum(1)])

    def mean(self, values):
        """``values`` of pixels, ``(pixels,)``, averaged for each image: float ``(n,)``, NaN where there are none."""
        counts = np.bincount(self.image, minlength=len(self.route))
        sums = np.bincount(self.image, values, minlength=len(self.route))
        return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def look(model, samples, track=iter):
    """Asks a segmentation network and each of its experts about images, a few at a time.

    A dense network counts as one expert that is always right about itself.

    Args:
        model: an ``MoEModel`` from images to probabilities ``(n, h, w, classes)``.
        samples: ``Samples`` with masks or without.
        track: wraps the iteration over the images, as ``rich.progress.track`` does.

    Returns:
        ``Scenes``.

    Raises:
        ValueError: as ``collect_expert_predictions``.
    """
    images, masks = samples.images, samples.labels
    names = ["all"] if samples.groups is None else sorted(set(samples.groups))
    group = np.zeros(len(images), int) if samples.groups is None else np.searchsorted(names, samples.groups)
    step = int(np.ceil(np.sqrt(np.prod(images.shape[:3]) / MOST)))
    parts, confusions = [], []
    for i in track(range(0, len(images), _CHUNK)):
        own = slice(i, i + _CHUNK)
        predictions = ask(model, images[own])
        known = predictions.predicted_labels * 0 + IGNORE if masks is None else masks[own]
        confusions.append(_confusion(predictions, known, group[own], len(names)))
        parts.append(_rows(predictions, None if masks is None else masks[own], step, i))
    answer, experts, route, gate, labels, image, weights, asked = (
        np.concatenate(part, axis=1 if k == 1 else 0) for k, part in enumerate(zip(*parts, strict=True))
    )
    rows = ExpertPredictions(answer, experts, route, gate)
    found = summary.find(rows, None if masks is None else labels, "pixels")
    scenes = Scenes(found, step, image, asked, route, weights, names, group, np.sum(confusions, axis=0))
    return scenes if masks is None else dataclasses.replace(scenes, right=scenes.mean(found.right))


def ask(model, images):
    """``ExpertPredictions`` on images; of a dense network those of a mixture of one expert, itself."""
    if model.gate is not None:
        return collect_expert_predictions(model, images, _CHUNK)
    answer = np.asarray(model.predict(images, batch_size=_CHUNK, verbose=0), "float32")
    weights = np.ones((len(images), 1), "float32")
    return ExpertPredictions(answer, answer[None], weights, weights)


def per_pixel(weights, answer):
    """A gate's weights for every pixel.

    Args:
        weights: ``(n, experts)``, ``(n, classes, experts)`` or, of a map, ``(n, h', w', experts)``.
        answer: int ``(n, h, w)``, the answers, of which a gate per class takes its weights.

    Returns:
        ``(n, h, w, experts)``.
    """
    n, h, w = answer.shape
    if weights.ndim == 2:
        return np.broadcast_to(weights[:, None, None], (n, h, w, weights.shape[-1]))
    if weights.ndim == 3:
        return weights[np.arange(n)[:, None, None], answer]
    # A cell of the map holds for the pixels it covers; nearest, whatever the model interpolates.
    rows, columns = (np.arange(a) * b // a for a, b in zip((h, w), weights.shape[1:3], strict=True))
    return weights[:, rows[:, None], columns]


def _rows(predictions, masks, step, first):
    grid = (slice(None), slice(None, None, step), slice(None, None, step))
    answer = predictions.predicted_labels
    labels = answer[grid] if masks is None else masks[grid]
    counted = labels != IGNORE if masks is not None else np.ones(labels.shape, bool)
    route, gate = (per_pixel(weights, answer)[grid] for weights in (predictions.route, predictions.gate_probabilities))
    weights = per_pixel(predictions.route, answer).mean((1, 2))
    image = first + np.broadcast_to(np.arange(len(labels))[:, None, None], labels.shape)
    experts = predictions.expert_probabilities[(slice(None), *grid)]
    return (
        predictions.probabilities[grid][counted], experts[:, counted], route[counted], gate[counted],
        labels[counted].astype("int64"), image[counted], weights, predictions.route,
    )  # fmt: skip


def _confusion(predictions, masks, group, groups):
    classes = predictions.probabilities.shape[-1]
    count = functools.partial(confusion_matrix, classes=classes)
    every = [predictions.predicted_labels, *predictions.expert_labels]
    return np.array([[count(masks[group == g], said[group == g]) for g in range(groups)] for said in every])
