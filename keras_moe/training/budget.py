"""A compute budget turned into a routing threshold."""

import numpy as np

from keras_moe.checks import number
from keras_moe.models.base import MoEModel
from keras_moe.types import Array


def fit_drop_below(model: MoEModel, images: Array, budget: float) -> float:
    """Sets ``model.drop_below`` to the least threshold whose mean cost on ``images`` is within ``budget``.

    No label is needed: the threshold decides only how often a second choice is worth running. The gate is asked once,
    with nothing dropped.

    Args:
        model: a routed model with a ``drop_below`` property.
        images: ``(n, h, w, c)``, not those it will be measured on.
        budget: float, multiply-accumulates per image.

    Returns:
        The threshold, a float in [0, 1].

    Raises:
        ValueError: one expert per image already costs more than ``budget``; the model is unchanged.
    """
    budget = number("fit_drop_below", "budget", budget)
    before, model.drop_below = model.drop_below, 0.0
    route = model.route(images)
    kept = route == route.max(axis=1, keepdims=True)
    for threshold in np.linspace(0, 1, 1001):
        cost = model.mean_macs(route=(route >= threshold) & (route > 0) | kept)
        if cost <= budget:
            model.drop_below = float(threshold)
            return float(threshold)
    model.drop_below = before
    raise ValueError(f"The least this model costs is {cost:,.0f} MACs per image. Received: budget={budget:,.0f}")
