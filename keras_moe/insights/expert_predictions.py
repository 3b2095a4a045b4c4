"""Predictions of a mixture and of each of its experts alone, with the gate's weights."""

import collections.abc
import dataclasses
import functools

import numpy as np
from keras import ops

from keras_moe.checks import integer, warn_of_fractions
from keras_moe.models import MoEModel


@dataclasses.dataclass(frozen=True)
class ExpertPredictions:
    """Of n images (or of their pixels, with two more axes after n).

    Attributes:
        probabilities: float32 ``(n, ..., classes)``, the model's.
        expert_probabilities: float32 ``(experts, n, ..., classes)``, those it would give if expert k alone were routed
            to.
        route: float32 ``(n, experts)``, per class ``(n, classes, experts)`` or per pixel ``(n, h, w, experts)``: the
            weights with which experts ran; zero where one did not.
        gate_probabilities: float32 as ``route``, the gate's softmax over all experts, before any is left out.

    Example:
        One image, two experts that predict different classes; the gate takes the second.

        >>> experts = np.array([[[0.9, 0.1]], [[0.2, 0.8]]])
        >>> route = np.array([[0.0, 1.0]])
        >>> predictions = insights.ExpertPredictions(experts[1], experts, route, route)
        >>> predictions.predicted_labels, predictions.expert_labels
        (array([1]), array([[0],
               [1]]))
    """

    probabilities: np.ndarray
    expert_probabilities: np.ndarray
    route: np.ndarray
    gate_probabilities: np.ndarray

    @functools.cached_property
    def predicted_labels(self) -> np.ndarray:
        """int ``(n, ...)``, the model's.

        Example:
            >>> experts, route = np.array([[[0.9, 0.1]], [[0.2, 0.8]]]), np.array([[0.0, 1.0]])
            >>> insights.ExpertPredictions(experts[1], experts, route, route).predicted_labels
            array([1])
        """
        labels: np.ndarray = self.probabilities.argmax(-1)
        return labels

    @functools.cached_property
    def expert_labels(self) -> np.ndarray:
        """int ``(experts, n, ...)``, each expert's.

        Example:
            >>> experts, route = np.array([[[0.9, 0.1]], [[0.2, 0.8]]]), np.array([[0.0, 1.0]])
            >>> insights.ExpertPredictions(experts[1], experts, route, route).expert_labels.tolist()
            [[0], [1]]
        """
        labels: np.ndarray = self.expert_probabilities.argmax(-1)
        return labels


def collect_expert_predictions(
    model: MoEModel,
    images: np.ndarray,
    batch_size: int = 256,
    track: collections.abc.Callable[..., collections.abc.Iterable[int]] = iter,
) -> ExpertPredictions:
    """Asks the model, then each expert alone, about all images: one pass more than there are experts.

    "Alone" is the whole model under a one-hot route: for a HydraNet stem, branch k and combiner; for a single-gated MoE
    the average of base and expert k; for a segmentation MoE expert k and, if there is one, the convolution after it.

    Args:
        model: an ``MoEModel`` with a gate, whose outputs are probabilities.
        images: ``(n, height, width, channels)``, n >= 1.
        batch_size: int.
        track: wraps the iteration over the passes, as ``rich.progress.track`` does, to show progress.

    Returns:
        The ``ExpertPredictions``.

    Raises:
        ValueError: a dense network, no images, or outputs that are not finite or no probabilities.

    Example:
        >>> model = zoo.load("test_hydranet")  # four experts, ten classes
        >>> predictions = insights.collect_expert_predictions(model, np.zeros((2, 8, 8, 1)))
        >>> predictions.route.shape, predictions.expert_probabilities.shape
        ((2, 4), (4, 2, 10))
    """
    batch_size = integer("collect_expert_predictions", "batch_size", batch_size, 1)
    if model.gate is None:
        raise ValueError(f"{model.name!r} is a dense network: it has no experts to give insight into.")
    if len(images) == 0:
        raise ValueError("collect_expert_predictions: expected at least one image. Received: none")
    if model.takes_pixels:
        warn_of_fractions("collect_expert_predictions", np.asarray(images))
    experts = []
    for k in track(range(-1, model.router.output_shape[-1])):
        if k < 0:
            outputs = model.model_with_route.predict(images, batch_size=batch_size, verbose=0)
            _check(outputs["prediction"])
        else:
            alone = np.zeros_like(outputs["routing_weights"])
            alone[..., k] = 1
            experts.append(model.predict_with_route(images, alone, batch_size))
    gate_probabilities = ops.softmax(ops.cast(outputs["gate_logits"], "float32"))
    return ExpertPredictions(
        np.asarray(outputs["prediction"], "float32"),
        np.stack(experts),
        np.asarray(outputs["routing_weights"], "float32"),
        ops.convert_to_numpy(gate_probabilities),
    )


def _check(prediction: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(prediction).reshape(len(prediction), -1).all(1))
    if len(bad):
        raise ValueError(f"The prediction is not finite for {len(bad)} images, the first of them image {bad[0]}.")
    if prediction.min() < 0 or np.abs(prediction.sum(-1) - 1).max() > 1e-2:
        raise ValueError("The model gives no probabilities. Build it with classifier_activation='softmax'.")
