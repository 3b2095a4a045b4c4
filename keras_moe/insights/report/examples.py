"""Single images that a page on segmentation shows."""

import dataclasses
import typing

import numpy as np

from keras_moe.insights.expert_predictions import ExpertPredictions
from keras_moe.insights.measures.agreement import agreement
from keras_moe.insights.measures.summary import uncertainty_measures
from keras_moe.insights.plots.agreement import plot_agreement_map
from keras_moe.insights.plots.routing import plot_gate_maps
from keras_moe.insights.plots.uncertainty import plot_uncertainty_maps
from keras_moe.insights.samples import Samples
from keras_moe.insights.segmentation_predictions import SegmentationPredictions, per_pixel, predict_pixels
from keras_moe.models import MoEModel

if typing.TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Example:
    """An image, its row among the samples, its mask ``(h, w)`` where known, and the predictions ``(1, h, w, …)``."""

    row: int
    image: np.ndarray
    mask: np.ndarray | None
    predictions: ExpertPredictions

    @property
    def predicted_labels(self) -> np.ndarray:
        """int ``(h, w)``."""
        labels: np.ndarray = self.predictions.predicted_labels[0]
        return labels

    def gate_map(self) -> "Figure":
        """The image under the weights of the experts."""
        return plot_gate_maps(self.image, self._per_pixel(self.predictions.route)[0])

    def agreement_map(self) -> "Figure":
        """The image and where experts agree."""
        route = self._per_pixel(self.predictions.route)
        cases = agreement(self.predictions.expert_labels[:, 0], self.predicted_labels, route[0])
        return plot_agreement_map(self.image, cases)

    def uncertainty_maps(self) -> "Figure":
        """The image and how unsure its pixels are."""
        gate = self._per_pixel(self.predictions.gate_probabilities)
        predictions = dataclasses.replace(self.predictions, gate_probabilities=gate)
        measures = {name: values[0] for name, values in uncertainty_measures(predictions).items()}
        return plot_uncertainty_maps(self.image, measures, self.predicted_labels, self.mask)

    def _per_pixel(self, weights: np.ndarray) -> np.ndarray:
        return per_pixel(weights, self.predictions.predicted_labels)


def choose_examples(model: MoEModel, samples: Samples, predictions: SegmentationPredictions) -> dict[str, Example]:
    """Images to show: dict, what is special about it -> the image."""
    rows = _rows(predictions)
    images, masks = samples.images, samples.labels
    collected = predict_pixels(model, images[list(rows.values())])
    return {
        name: Example(row, images[row], None if masks is None else masks[row], _only(collected, i))
        for i, (name, row) in enumerate(rows.items())
    }


def _rows(predictions: SegmentationPredictions) -> dict[str, int]:
    measures = predictions.pixels.uncertainties
    if predictions.right is None:
        names = ("surest", "middle", "least sure")
        order = np.argsort(np.nan_to_num(predictions.mean(measures["predictive entropy"])))
    else:
        names = ("best", "middle", "worst")
        order = np.argsort(-np.nan_to_num(predictions.right, nan=-1))
    rows = dict(zip(names, order[[0, len(order) // 2, -1]].tolist(), strict=True))
    if "disagreement" in measures:
        rows["most disputed"] = int(np.nanargmax(predictions.mean(measures["disagreement"])))
    return rows


def _only(predictions: ExpertPredictions, i: int) -> ExpertPredictions:
    """Those of image i."""
    return ExpertPredictions(
        predictions.probabilities[i : i + 1],
        predictions.expert_probabilities[:, i : i + 1],
        predictions.route[i : i + 1],
        predictions.gate_probabilities[i : i + 1],
    )
