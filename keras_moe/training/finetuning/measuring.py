"""What a fine-tuned network reaches and costs, on cached features of images that it has not learned from."""

import dataclasses
import math

import numpy as np

from keras_moe.models import HydraNet, MoEModel, SingleGatedMoE
from keras_moe.training.finetuning.features import Part, by_chunks
from keras_moe.training.operating_point import OperatingPoint, fit_knob, measured_point
from keras_moe.types import Array

_VALUES = {
    "drop_below": np.linspace(0, 0.5, 11),  # a second weight is at most a half
    "threshold": 1 - np.array([1, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1, 0.06, 0.03, 0.01, 0]),
}
_LOSS = 0.005  # of accuracy on validation, that a cheaper operating point may have


@dataclasses.dataclass(frozen=True)
class Measured:
    """A network on the images of one part: predictions ``(n, classes)``, the route or None, its cost and accuracy."""

    labels: Array
    probabilities: Array
    route: Array | None
    macs: float

    @property
    def right(self) -> Array:
        """bool ``(n,)``."""
        right: Array = self.probabilities.argmax(-1) == self.labels
        return right

    @property
    def accuracy(self) -> float:
        """The share of images that are right; NaN without images."""
        return float(self.right.mean()) if len(self.labels) else math.nan


def measured(model: MoEModel, rest: MoEModel, part: Part) -> Measured:
    """``model`` on a part; ``rest`` is what is left of it behind the trunk, and ends in probabilities."""
    probabilities, route = by_chunks(lambda features: rest.predict_routed(features, batch_size=128), part.views[0])
    macs = float(model.macs_total) if route is None else model.mean_macs(route=route)
    return Measured(part.labels, probabilities, route, macs)


def knob_of(model: MoEModel) -> str | None:
    """The name of the property that trades accuracy for cost, or None."""
    if isinstance(model, HydraNet):
        return "drop_below"
    return "threshold" if isinstance(model, SingleGatedMoE) else None


def operating_curve(model: MoEModel, rest: MoEModel, part: Part) -> list[OperatingPoint]:
    """Accuracy and cost over values of the knob, the dearest first; the knob is left as it was. Empty without one."""
    knob = knob_of(model)
    if knob is None:
        return []
    before, points = getattr(model, knob), []
    try:
        for value in _VALUES[knob] if knob == "drop_below" else _VALUES[knob][::-1]:
            setattr(model, knob, float(value))
            reached = measured(model, rest, part)
            points.append(measured_point(model, float(value), _rows(reached.route), reached.accuracy))
    finally:
        setattr(model, knob, before)
    return points


def fit_budget(model: MoEModel, curve: list[OperatingPoint], budget: float | None) -> None:
    """Sets the knob: the most accurate point within ``budget`` MACs, or the cheapest that loses half a point at most.

    Args:
        model: the network.
        curve: its operating points on the validation part; without any, nothing is set.
        budget: float or None.

    Raises:
        ValueError: no point is within the budget.
    """
    knob = knob_of(model)
    if knob is None or not curve:
        return
    dearest_first = sorted(curve, key=lambda point: (-point.quality, point.macs))
    cheapest_first = sorted(curve, key=lambda point: point.macs)
    if budget is not None:
        fit_knob("finetune", model, knob, lambda: dearest_first, budget)
    else:
        fit_knob("finetune", model, knob, lambda: cheapest_first, None, dearest_first[0].quality - _LOSS)


def check_budget(model: MoEModel, budget: float | None) -> None:
    """Raises ValueError, before anything is learned, where not even the cheapest operation is within ``budget``."""
    if budget is None:
        return
    least = model.macs_total
    if model.bank is not None:
        own = next(m for m in model.macs_by_part().values() if isinstance(m, list))
        least -= sum(own) - (0 if isinstance(model, SingleGatedMoE) else min(own))
    if least > budget:
        raise ValueError(
            f"finetune: the least that {type(model).__name__} costs at {model.input_shape[1]} pixels is {least:,} MACs "
            f"an image. Received: budget={budget:,.0f}. Give smaller images (size=), or a larger budget."
        )


def _rows(route: Array | None) -> Array:
    assert route is not None
    return route
