"""Operating points of a knob that trades quality for cost after training, and the search for a budget.

The knob of dynamic k, whose search needs no labels, is here; the others have modules of their own.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from keras_moe.checks import number
from keras_moe.models.base import MoEModel
from keras_moe.types import Array


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """One value of a model's knob, and the cost and quality of the model with it on a set of images.

    Args:
        value: float, of ``drop_below``, ``threshold`` or ``cost_weight``, whichever the model has.
        macs: float, mean multiply-accumulates per image.
        quality: float, accuracy in [0, 1] or PSNR in dB; NaN where no labels were given.
        usage: tuple of floats, the share of images for which each expert runs.
        exits: float, the share of images for which no expert runs.

    Example:
        >>> point = training.OperatingPoint(value=0.4, macs=1500.0, quality=0.91, usage=(0.5, 0.25), exits=0.25)
        >>> f"{point.quality:.0%} for {point.macs:.0f} MACs, {point.exits:.0%} without an expert"
        '91% for 1500 MACs, 25% without an expert'
    """

    value: float
    macs: float
    quality: float
    usage: tuple[float, ...]
    exits: float


def measured_point(model: MoEModel, value: float, route: Array, quality: float) -> OperatingPoint:
    """The ``OperatingPoint`` of ``value``, with which images take ``route``, ``(n, experts)``."""
    runs = route != 0
    return OperatingPoint(
        value=value,
        macs=model.mean_macs(route=runs),
        quality=quality,
        usage=tuple(runs.mean(axis=0).tolist()),
        exits=float(np.mean(~runs.any(axis=1))),
    )


def fit_knob(
    owner: str,
    model: MoEModel,
    knob: str,
    candidates: Callable[[], Iterable[OperatingPoint]],
    budget: float | None,
    quality: float | None = None,
) -> OperatingPoint:
    """Sets a knob of ``model`` to the first candidate that is within a budget or reaches a quality.

    Args:
        owner: str, the function that an error names.
        model: an ``MoEModel``.
        knob: str, the property to set.
        candidates: ``() -> points``, the preferred ones first; called once the numbers are checked.
        budget: float, the most multiply-accumulates per image; None with ``quality``.
        quality: float, the least quality; None with ``budget``.

    Returns:
        The point.

    Raises:
        ValueError: a budget or a quality that no candidate meets; the model is unchanged.
    """
    limit = number(owner, "budget", budget) if quality is None else number(owner, "quality", quality)
    points = []
    for point in candidates():
        if point.macs <= limit if quality is None else point.quality >= limit:
            setattr(model, knob, point.value)
            return point
        points.append(point)
    if quality is None:
        least = min(point.macs for point in points)
        raise ValueError(f"{owner}: the least this model costs is {least:,.0f} MACs. Received: budget={limit:,.0f}")
    best = max(point.quality for point in points)
    raise ValueError(f"{owner}: the best quality of this model is {best:.4f}. Received: quality={limit}")


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
