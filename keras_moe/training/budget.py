"""A compute budget turned into a threshold of dynamic k."""

import math
from collections.abc import Iterator

import numpy as np

from keras_moe.models.base import MoEModel
from keras_moe.training.operating_point import OperatingPoint, fit_knob, measured_point
from keras_moe.types import Array


def fit_drop_below(model: MoEModel, images: Array, budget: float) -> OperatingPoint:
    """Sets ``model.drop_below`` to the least threshold whose mean cost on ``images`` is within ``budget``.

    It needs no labels: the threshold decides only how often a second expert is worth its cost. The gate runs once, with
    nothing dropped.

    Args:
        model: a routed model with a ``drop_below`` property.
        images: ``(n, h, w, c)``, other images than those that will measure the model.
        budget: float, multiply-accumulates per image.

    Returns:
        The ``OperatingPoint`` chosen; its ``value`` is in [0, 1].

    Raises:
        ValueError: one expert per image already costs more than ``budget``; the model is unchanged.

    Example:
        >>> images, _ = datasets.digits()[1]
        >>> model = zoo.load("test_hydranet", top_k=2)  # two experts for every image
        >>> budget = 0.9 * model.mean_macs(images=images)
        >>> point = training.fit_drop_below(model, images, budget)
        >>> point.macs <= budget, sum(point.usage) < 2
        (True, True)
        >>> round(model.drop_below, 6) == round(point.value, 6)
        True
    """

    def candidates() -> Iterator[OperatingPoint]:
        route = _route_without_drops(model, images)
        strongest = route == route.max(axis=1, keepdims=True)
        for threshold in np.linspace(0, 1, 1001):
            runs = (route >= threshold) & (route > 0) | strongest
            yield measured_point(model, float(threshold), runs, math.nan)

    return fit_knob("fit_drop_below", model, "drop_below", candidates, budget)


def _route_without_drops(model: MoEModel, images: Array) -> Array:
    before, model.drop_below = model.drop_below, 0.0
    try:
        return model.route(images)
    finally:
        model.drop_below = before
