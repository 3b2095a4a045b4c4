"""Measures of routing: usage, classes, the gate's entropy, favourite images.

A route is a float array ``(..., experts)`` of weights >= 0, zero where an expert does not run: of images
``(n, experts)``, of pixels ``(n, height, width, experts)``. Every function raises ValueError on arrays that are empty,
not finite, negative, out of range, or whose lengths differ.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from keras_moe.checks import class_labels, integer
from keras_moe.insights.measures import validation


@dataclasses.dataclass(frozen=True)
class Usage:
    """How often and how much each expert works.

    Attributes:
        ran: float ``(experts,)``, the share of rows for which the expert ran.
        weight: float ``(experts,)``, its mean weight.
        none: float, the share of rows for which no expert ran (an early exit).

    Example:
        >>> insights.expert_usage([[1.0, 0.0], [0.0, 0.0]])  # expert 0 runs for the first row, nobody for the second
        Usage(ran=array([0.5, 0. ]), weight=array([0.5, 0. ]), none=0.5)
    """

    ran: np.ndarray
    weight: np.ndarray
    none: float


def expert_usage(route: npt.ArrayLike) -> Usage:
    """How often and how much each expert works.

    Args:
        route: ``(..., experts)``.

    Returns:
        A ``Usage``.

    Example:
        >>> insights.expert_usage([[0.5, 0.5], [1.0, 0.0]]).weight
        array([0.75, 0.25])
    """
    rows = _rows(validation.weights("expert_usage", "route", route))
    return Usage((rows > 0).mean(0), rows.mean(0), float((~rows.any(1)).mean()))


def class_by_expert(route: npt.ArrayLike, labels: npt.ArrayLike, classes: int) -> np.ndarray:
    """Mean weight of each expert over the rows of each class.

    Args:
        route: ``(..., experts)``.
        labels: int ``(...)`` in ``0…classes - 1``.
        classes: int.

    Returns:
        float64 ``(classes, experts)``; NaN for a class that has no rows.

    Example:
        >>> insights.class_by_expert([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], [0, 0, 1], classes=2)
        array([[0.75, 0.25],
               [0.  , 1.  ]])
    """
    classes = integer("class_by_expert", "classes", classes, 1)
    route = validation.weights("class_by_expert", "route", route)
    labels = class_labels("class_by_expert", "labels", labels, route.shape[:-1], classes).reshape(-1)
    rows = np.bincount(labels, minlength=classes)
    sums = np.stack([np.bincount(labels, column, minlength=classes) for column in _rows(route).T], axis=1)
    return np.where(rows[:, None] > 0, sums / np.maximum(rows, 1)[:, None], np.nan)


def leading_expert(route: npt.ArrayLike) -> np.ndarray:
    """The expert of largest weight, of equals the first.

    Args:
        route: ``(..., experts)``.

    Returns:
        int ``(...)``; -1 where none ran.

    Example:
        >>> insights.leading_expert([[0.3, 0.7], [0.5, 0.5], [0.0, 0.0]])
        array([ 1,  0, -1])
    """
    route = validation.weights("leading_expert", "route", route)
    return np.where(route.any(-1), route.argmax(-1), -1)


def accuracy_where_routed(expert_labels: npt.ArrayLike, labels: npt.ArrayLike, route: npt.ArrayLike) -> np.ndarray:
    """Does the gate know who is good at what? Accuracy of every expert on the rows that each expert leads.

    Args:
        expert_labels: int ``(experts, ...)``, the label that each expert alone predicts.
        labels: int ``(...)``, the true ones.
        route: ``(..., experts)``.

    Returns:
        float64 ``(experts, experts)``: ``[k, j]`` is the accuracy of expert j on the rows led by expert k; the diagonal
        is the accuracy of the gate's choice. NaN in the row of an expert that leads nowhere.

    Example:
        Expert 0 leads the first row, where it is right; expert 1 the second, where both are right.

        >>> insights.accuracy_where_routed([[0, 1], [1, 1]], [0, 1], [[0.9, 0.1], [0.2, 0.8]])
        array([[1., 0.],
               [1., 1.]])
    """
    route = validation.weights("accuracy_where_routed", "route", route)
    count = route.shape[-1]
    shape = (count, *route.shape[:-1])
    expert_labels = class_labels("accuracy_where_routed", "expert_labels", expert_labels, shape)
    right = expert_labels == class_labels("accuracy_where_routed", "labels", labels, shape[1:])
    leading = leading_expert(route)
    rows = [right[:, leading == k] for k in range(count)]
    return np.stack([r.mean(1) if r.size else np.full(count, np.nan) for r in rows])


def gate_entropy(gate_probabilities: npt.ArrayLike) -> np.ndarray:
    """The gate's indecision: entropy of its weights divided by ``log experts``; 0: all on one expert, 1: all alike.

    Pass the gate's soft weights (the softmax of its logits): those of a top-1 route are always 0.

    Args:
        gate_probabilities: float ``(..., experts)``, rows summing to one.

    Returns:
        float ``(...)`` in [0, 1].

    Example:
        >>> insights.gate_entropy([[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
        array([0. , 0.5, 1. ])
    """
    return normalised_entropy(validation.probabilities("gate_entropy", "gate_probabilities", gate_probabilities))


def favourites(routing_weights: npt.ArrayLike, count: int) -> list[np.ndarray]:
    """The rows for which each expert has the largest weight.

    Args:
        routing_weights: float ``(n, experts)``; a row with weight 0 is nobody's favourite.
        count: int >= 1, rows per expert, at most.

    Returns:
        list of int arrays, one per expert: rows by falling weight, of equals the first.

    Example:
        >>> insights.favourites([[0.5, 0.0], [0.9, 0.1]], count=2)
        [array([1, 0]), array([1])]
    """
    count = integer("favourites", "count", count, 1)
    routing_weights = validation.weights("favourites", "routing_weights", routing_weights)
    if routing_weights.ndim != 2:
        raise ValueError(f"favourites: expected routing_weights (n, experts). Received: {routing_weights.shape}")
    orders = np.argsort(-routing_weights, axis=0, kind="stable")[:count].T
    return [order[routing_weights[order, k] > 0] for k, order in enumerate(orders)]


def normalised_entropy(p: np.ndarray) -> np.ndarray:
    """Entropy over the last axis in units of its largest value; 0 where there is nothing to choose from."""
    logs = np.log(p, where=p > 0, out=np.zeros_like(p))
    entropy: np.ndarray = 0.0 - (p * logs).sum(-1) / np.log(max(p.shape[-1], 2))  # 0.0, never -0.0
    return entropy


def _rows(route: np.ndarray) -> np.ndarray:
    return route.reshape(-1, route.shape[-1])
