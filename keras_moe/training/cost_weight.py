"""ClassSR's knob after training: the curve of cost against quality, and the setting for a budget."""

from collections.abc import Sequence

import numpy as np

from keras_moe.checks import integer, number
from keras_moe.metrics import psnr_from_mse
from keras_moe.models.classsr import ClassSR
from keras_moe.training.operating_point import OperatingPoint, fit_knob, measured_point
from keras_moe.types import Array


def cost_curve(
    model: ClassSR, images: Array, labels: Array, values: Sequence[float] | None = None, batch_size: int = 64
) -> list[OperatingPoint]:
    """PSNR against cost over ``cost_weight``, with every patch computed once by each branch.

    Args:
        model: a ``ClassSR``; it is not changed.
        images, labels: uint8 patches of low and of high resolution, as ``datasets.cut_patches`` returns them.
        values: floats; None: 0 and 40 that let equally many patches change branch from one to the next, up to where
            all take the cheapest.
        batch_size: int.

    Returns:
        list of ``OperatingPoint``, by rising ``cost_weight``: ``quality`` is the PSNR in dB over the pixels of all
        patches, and ``macs``, per patch, never rise.

    Example:
        >>> photograph = np.random.default_rng(0).integers(0, 256, (64, 64, 3), "uint8")
        >>> low, high = datasets.cut_patches([photograph], scale=2, patch=16)
        >>> model = zoo.load("test_classsr")
        >>> dear, cheap = training.cost_curve(model, low, high, values=[-1e6, 1e6])
        >>> dear.usage, cheap.usage  # each patch by the larger branch, by the smaller
        ((0.0, 1.0), (1.0, 0.0))
    """
    batch_size = integer("cost_curve", "batch_size", batch_size, 1)
    if values is not None:
        values = [number("cost_curve", "values", value) for value in values]
    logits, errors = logits_and_errors(model, images, labels, batch_size)
    costs = np.asarray(model.get_layer("cost_bias").costs)
    if values is None:
        between = _between(_switches(logits, costs))
        values = np.unique([0.0, *np.quantile(between, np.linspace(0, 1, 40), method="nearest")]).tolist()
    return [_point(model, logits, errors, costs, value) for value in sorted(values)]


def fit_cost_weight(model: ClassSR, images: Array, labels: Array, budget: float) -> OperatingPoint:
    """Sets ``model.cost_weight`` to the least of the curve whose mean cost on held-out patches is within ``budget``.

    Args:
        model: a ``ClassSR``.
        images, labels: as for ``cost_curve``; other patches than those that will measure the model.
        budget: float, multiply-accumulates per patch, the class module's included.

    Returns:
        The ``OperatingPoint`` chosen.

    Raises:
        ValueError: a budget that the curve does not reach; the model is unchanged.

    Example:
        >>> photograph = np.random.default_rng(0).integers(0, 256, (64, 64, 3), "uint8")
        >>> low, high = datasets.cut_patches([photograph], scale=2, patch=16)
        >>> model = zoo.load("test_classsr")
        >>> macs = model.macs_by_part()
        >>> point = training.fit_cost_weight(model, low, high, budget=macs["class_module"] + min(macs["branches"]))
        >>> point.usage
        (1.0, 0.0)
    """

    return fit_knob("fit_cost_weight", model, "cost_weight", lambda: cost_curve(model, images, labels), budget)


def logits_and_errors(model: ClassSR, images: Array, labels: Array, batch_size: int = 64) -> tuple[Array, Array]:
    """The logits of every patch, ``(n, branches)``, and the mean squared error of every branch on it, the same shape.

    Arguments as for ``cost_curve``.
    """
    batch_size = integer("logits_and_errors", "batch_size", batch_size, 1)
    logits, errors, network = [], [], model.at_size(*images.shape[1:3])
    for first in range(0, len(images), batch_size):
        patches = images[first : first + batch_size].astype("float32")
        target = labels[first : first + batch_size].astype("float32")
        logits.append(np.asarray(network.predict_on_batch(patches)["gate_logits"]))
        outputs = [np.clip(branch.predict_on_batch(patches / 255) * 255, 0, 255) for branch in model.bank.experts]
        errors.append(np.stack([np.mean((y - target) ** 2, axis=(1, 2, 3)) for y in outputs], axis=1))
    return np.concatenate(logits), np.concatenate(errors)


def _switches(logits: Array, costs: Array) -> Array:
    """Where patches change branch: the cost weights at which two logits, one dearer than the other, are equal."""
    pairs = [(i, j) for i in range(len(costs)) for j in range(len(costs)) if costs[i] < costs[j]]
    return np.concatenate([(logits[:, j] - logits[:, i]) / (costs[j] - costs[i]) for i, j in pairs])


def _between(switches: Array) -> Array:
    """Weights half-way between two switches, and one beyond the last: at a switch itself rounding decides."""
    edges = np.sort(switches)
    return np.append((edges[:-1] + edges[1:]) / 2, edges[-1] + 1)


def _point(model: ClassSR, logits: Array, errors: Array, costs: Array, weight: float) -> OperatingPoint:
    chosen = np.argmax(logits - weight * costs, axis=1)
    error = errors[np.arange(len(chosen)), chosen].mean()
    return measured_point(model, float(weight), np.eye(len(costs))[chosen], float(psnr_from_mse(error)))
