"""All measures of a set of images or pixels."""

import dataclasses

import numpy as np

from keras_moe.insights.expert_predictions import ExpertPredictions
from keras_moe.insights.measures import routing, uncertainty
from keras_moe.insights.measures.agreement import Agreement, agreement, disagreement


@dataclasses.dataclass(frozen=True)
class Summary:
    """The measures of n rows, images or pixels; what needs labels is None where there are none.

    Attributes:
        unit: what a row is: ``"images"`` or ``"pixels"``.
        usage: a ``Usage``.
        class_by_expert: ``(classes, experts)``, see ``insights.class_by_expert``; by ``class_of_row``.
        class_of_row: int ``(n,)``, its label or, without labels, the predicted one.
        agreement: an ``Agreement``.
        uncertainties: dict, name of a measure -> float ``(n,)``, see ``uncertainty_measures``.
        leading: int ``(n,)``, the expert of largest weight; -1: none ran.
        confidence: float, mean probability of the predicted label.
        right: bool ``(n,)``, whether the predicted label is right.
        expert_right: bool ``(experts, n)``, whether that of each expert alone is.
        accuracy_where_routed: ``(experts, experts)``, see ``insights.accuracy_where_routed``.
        reliability: a ``Reliability``.
        risk_coverage: dict, name of the measure -> its ``RiskCoverage``.

    Example:
        >>> half = np.full((1, 2), 0.5)
        >>> predictions = insights.ExpertPredictions(half, np.stack([half, half]), half, half)
        >>> summary = insights.summarize(predictions)
        >>> summary.confidence, summary.agreement.shares["perfect"], summary.right
        (0.5, 1.0, None)
    """

    unit: str
    usage: routing.Usage
    class_by_expert: np.ndarray
    class_of_row: np.ndarray
    agreement: Agreement
    uncertainties: dict[str, np.ndarray]
    leading: np.ndarray
    confidence: float
    right: np.ndarray | None = None
    expert_right: np.ndarray | None = None
    accuracy_where_routed: np.ndarray | None = None
    reliability: uncertainty.Reliability | None = None
    risk_coverage: dict[str, uncertainty.RiskCoverage] | None = None


def summarize(predictions: ExpertPredictions, labels: np.ndarray | None = None, unit: str = "images") -> Summary:
    """All measures of the predictions on n images, or n pixels.

    Args:
        predictions: ``ExpertPredictions``, of one row each.
        labels: int ``(n,)``, the true ones, or None.
        unit: what a row is: ``"images"`` or ``"pixels"``.

    Returns:
        A ``Summary``.

    Raises:
        ValueError: probabilities that are not finite or do not sum to one, labels out of range, shapes that differ.

    Example:
        Two images of class 0. Expert 0 is right about both, expert 1 about none, and the gate takes one each.

        >>> experts = np.array([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
        >>> route = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> predictions = insights.ExpertPredictions(np.array([[1.0, 0.0], [0.0, 1.0]]), experts, route, route)
        >>> summary = insights.summarize(predictions, np.array([0, 0]))
        >>> summary.right, summary.leading
        (array([ True, False]), array([0, 1]))
        >>> summary.accuracy_where_routed
        array([[1., 0.],
               [1., 0.]])
    """
    predicted = predictions.predicted_labels
    classes = predicted if labels is None else np.asarray(labels)
    summary = Summary(
        unit=unit,
        usage=routing.expert_usage(predictions.route),
        class_by_expert=routing.class_by_expert(predictions.route, classes, predictions.probabilities.shape[-1]),
        class_of_row=classes,
        agreement=agreement(predictions.expert_labels, predicted, predictions.route),
        uncertainties=uncertainty_measures(predictions),
        leading=routing.leading_expert(predictions.route),
        confidence=float(predictions.probabilities.max(-1).mean()),
    )
    if labels is None:
        return summary
    right = predicted == classes
    return dataclasses.replace(
        summary,
        right=right,
        expert_right=predictions.expert_labels == classes,
        accuracy_where_routed=routing.accuracy_where_routed(predictions.expert_labels, classes, predictions.route),
        reliability=uncertainty.reliability(predictions.probabilities, classes),
        risk_coverage={
            name: uncertainty.risk_coverage(values, ~right) for name, values in summary.uncertainties.items()
        },
    )


def uncertainty_measures(predictions: ExpertPredictions) -> dict[str, np.ndarray]:
    """How unsure predictions are, by each measure. Of a single expert, a dense network, predictive entropy alone.

    Args:
        predictions: ``ExpertPredictions`` of images or of pixels; a route per pixel.

    Returns:
        dict, name of the measure -> float ``(n, ...)``.

    Example:
        >>> half = np.full((1, 2), 0.5)
        >>> predictions = insights.ExpertPredictions(half, np.stack([half, half]), half, half)
        >>> {name: values.item() for name, values in insights.uncertainty_measures(predictions).items()}
        {'predictive entropy': 1.0, 'disagreement': 0.0, 'mutual information': 0.0, 'expert variance': 0.0,
         'gate entropy': 1.0}
    """
    entropy = {"predictive entropy": uncertainty.predictive_entropy(predictions.probabilities)}
    if len(predictions.expert_probabilities) == 1:
        return entropy
    return entropy | {
        "disagreement": disagreement(predictions.expert_labels, predictions.predicted_labels),
        "mutual information": uncertainty.mutual_information(predictions.expert_probabilities),
        "expert variance": uncertainty.expert_variance(predictions.expert_probabilities, predictions.predicted_labels),
        "gate entropy": routing.gate_entropy(predictions.gate_probabilities),
    }
