"""ClassSR's knob after training: the curve of cost against quality, and the setting for a budget."""

import collections.abc
import dataclasses

import numpy as np

from keras_moe.checks import integer, number
from keras_moe.models.classsr import ClassSR
from keras_moe.types import Array


@dataclasses.dataclass(frozen=True)
class CostPoint:
    """One setting of ``cost_weight`` on one set of patches: PSNR in dB over all their pixels, mean MACs per patch and
    the share of patches that each branch gets."""

    cost_weight: float
    psnr: float
    macs: float
    usage: tuple[float, ...]


def cost_curve(
    model: ClassSR,
    low: Array,
    high: Array,
    weights: collections.abc.Sequence[float] | None = None,
    batch_size: int = 64,
) -> list[CostPoint]:
    """PSNR against cost over ``cost_weight``, with every patch computed once by each branch.

    Args:
        model: a ``ClassSR``; it is not changed.
        low, high: uint8 patches as ``keras_moe.training.patches.cut_patches`` returns them.
        weights: floats; None: 0 and 40 that let equally many patches change branch from one to the next, up to where
            all take the cheapest.
        batch_size: int.

    Returns:
        list of ``CostPoint``, by rising ``cost_weight``; their MACs never rise.
    """
    batch_size = integer("cost_curve", "batch_size", batch_size, 1)
    if weights is not None:
        weights = [number("cost_curve", "weights", w) for w in weights]
    logits, errors = logits_and_errors(model, low, high, batch_size)
    costs = np.asarray(model.get_layer("cost_bias").costs)
    if weights is None:
        between = _between(_switches(logits, costs))
        weights = np.unique([0.0, *np.quantile(between, np.linspace(0, 1, 40), method="nearest")]).tolist()
    return [_point(model, logits, errors, costs, float(w)) for w in sorted(weights)]


def fit_cost_weight(model: ClassSR, low: Array, high: Array, budget: float) -> CostPoint:
    """Sets ``model.cost_weight`` to the least of the curve whose mean cost on held-out patches is within ``budget``.

    Args:
        model: a ``ClassSR``.
        low, high: as for ``cost_curve``; patches that it will not be measured on.
        budget: float, multiply-accumulates per patch, the class module's included.

    Returns:
        The ``CostPoint`` chosen.

    Raises:
        ValueError: a budget that the curve does not reach; the model is unchanged.
    """
    budget = number("fit_cost_weight", "budget", budget)
    curve = cost_curve(model, low, high)
    fit = [point for point in curve if point.macs <= budget]
    if not fit:
        raise ValueError(
            f"The least that the curve costs is {curve[-1].macs:,.0f} MACs. Received: budget={budget:,.0f}"
        )
    model.cost_weight = fit[0].cost_weight
    return fit[0]


def logits_and_errors(model: ClassSR, low: Array, high: Array, batch_size: int = 64) -> tuple[Array, Array]:
    """The logits of every patch, ``(n, branches)``, and the mean squared error of every branch on it, the same shape.

    Arguments as for ``cost_curve``.
    """
    batch_size = integer("logits_and_errors", "batch_size", batch_size, 1)
    logits, errors, network = [], [], model.at_size(*low.shape[1:3])
    for first in range(0, len(low), batch_size):
        patches = low[first : first + batch_size].astype("float32")
        target = high[first : first + batch_size].astype("float32")
        logits.append(np.asarray(network.predict_on_batch(patches)["gate_logits"]))
        outputs = [np.clip(branch.predict_on_batch(patches / 255) * 255, 0, 255) for branch in model.bank.experts]
        errors.append(np.stack([np.mean((y - target) ** 2, axis=(1, 2, 3)) for y in outputs], axis=1))
    return np.concatenate(logits), np.concatenate(errors)


def _switches(logits, costs):
    """Where patches change branch: the cost weights at which two logits, one dearer than the other, are equal."""
    pairs = [(i, j) for i in range(len(costs)) for j in range(len(costs)) if costs[i] < costs[j]]
    return np.concatenate([(logits[:, j] - logits[:, i]) / (costs[j] - costs[i]) for i, j in pairs])


def _between(switches):
    """Weights half-way between two switches, and one beyond the last: at a switch itself rounding decides."""
    edges = np.sort(switches)
    return np.append((edges[:-1] + edges[1:]) / 2, edges[-1] + 1)


def _point(model, logits, errors, costs, weight):
    chosen = np.argmax(logits - weight * costs, axis=1)
    route = np.eye(len(costs))[chosen]
    error = errors[np.arange(len(chosen)), chosen].mean()
    psnr = float(10 * np.log10(255**2 / error))
    return CostPoint(weight, psnr, model.mean_macs(route=route), tuple(route.mean(0).tolist()))
