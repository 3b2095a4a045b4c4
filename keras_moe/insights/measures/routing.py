"""Who does what: usage, classes, the gate's indecision, favourite images.

A route is a float array ``(..., experts)`` of weights >= 0, zero where an expert does not run: of images
``(n, experts)``, of pixels ``(n, height, width, experts)``. Every function raises ValueError on arrays that are empty,
not finite, negative, out of range, or whose lengths differ.
"""

import dataclasses

import numpy as np

from keras_moe.checks import integer
from keras_moe.insights import validation


@dataclasses.dataclass(frozen=True)
class Usage:
    """How often and how much each expert works.

    Attributes:
        ran: float ``(experts,)``, the share of rows for which the expert ran.
        weight: float ``(experts,)``, its mean weight.
        none: float, the share of rows for which no expert ran (an early exit).
    """

    ran: np.ndarray
    weight: np.ndarray
    none: float


def expert_usage(route):
    """The ``Usage`` of a route ``(..., experts)``."""
    route = _rows(validation.weights("expert_usage", "route", route))
    return Usage((route > 0).mean(0), route.mean(0), float((~route.any(1)).mean()))


def class_by_expert(route, labels, classes):
    """Mean weight of each expert over the rows of each class.

    Args:
        route: ``(..., experts)``.
        labels: int ``(...)`` in ``0…classes - 1``.
        classes: int.

    Returns:
        float64 ``(classes, experts)``; NaN for a class that has no rows.
    """
    classes = integer("class_by_expert", "classes", classes, 1)
    route = validation.weights("class_by_expert", "route", route)
    labels = validation.labels("class_by_expert", "labels", labels, route.shape[:-1], classes).reshape(-1)
    rows = np.bincount(labels, minlength=classes)
    sums = np.stack([np.bincount(labels, column, minlength=classes) for column in _rows(route).T], axis=1)
    return np.where(rows[:, None] > 0, sums / np.maximum(rows, 1)[:, None], np.nan)


def leading_expert(route):
    """The expert of largest weight, int ``(...)``, of equals the first; -1 where none ran."""
    route = validation.weights("leading_expert", "route", route)
    return np.where(route.any(-1), route.argmax(-1), -1)


def accuracy_where_routed(experts, labels, route):
    """Does the gate know who is good at what? Accuracy of every expert on the rows that each expert leads.

    Args:
        experts: int ``(experts, ...)``, the label that each expert alone would give.
        labels: int ``(...)``, the true ones.
        route: ``(..., experts)``.

    Returns:
        float64 ``(experts, experts)``: ``[k, j]`` is the accuracy of expert j on the rows led by expert k; the diagonal
        is what the gate's choice got, NaN rows are of experts that lead nowhere.
    """
    route = validation.weights("accuracy_where_routed", "route", route)
    count = route.shape[-1]
    experts = validation.labels("accuracy_where_routed", "experts", experts, (count, *route.shape[:-1]))
    right = experts == validation.labels("accuracy_where_routed", "labels", labels, route.shape[:-1])
    leading = leading_expert(route)
    rows = [right[:, leading == k] for k in range(count)]
    return np.stack([r.mean(1) if r.size else np.full(count, np.nan) for r in rows])


def gate_entropy(gate):
    """The gate's indecision: entropy of its weights divided by ``log experts``; 0: all on one expert, 1: all alike.

    Pass the gate's soft weights (the softmax of its logits): those of a top-1 route are always 0.

    Args:
        gate: float ``(..., experts)``, rows summing to one.

    Returns:
        float ``(...)`` in [0, 1].
    """
    return normalised_entropy(validation.probabilities("gate_entropy", "gate", gate))


def favourites(weights, count):
    """The rows that each expert likes most.

    Args:
        weights: float ``(n, experts)``; a row with weight 0 is nobody's favourite.
        count: int >= 1, rows per expert, at most.

    Returns:
        list of int arrays, one per expert: rows by falling weight, of equals the first.
    """
    count, weights = integer("favourites", "count", count, 1), validation.weights("favourites", "weights", weights)
    if weights.ndim != 2:
        raise ValueError(f"favourites: expected weights (n, experts). Received: {weights.shape}")
    orders = np.argsort(-weights, axis=0, kind="stable")[:count].T
    return [order[weights[order, k] > 0] for k, order in enumerate(orders)]


def normalised_entropy(p):
    """Entropy over the last axis in units of its largest value; 0 where there is nothing to choose from."""
    logs = np.log(p, where=p > 0, out=np.zeros_like(p))
    return -(p * logs).sum(-1) / np.log(max(p.shape[-1], 2))


def _rows(route):
    return route.reshape(-1, route.shape[-1])
