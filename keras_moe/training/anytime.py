"""The any-time curve of a single-gated MoE, and the threshold for a budget or an accuracy."""

import collections.abc
import dataclasses

import numpy as np
from keras import ops

from keras_moe.checks import number
from keras_moe.layers import EarlyExit
from keras_moe.models.single_gated import SingleGatedMoE
from keras_moe.types import Array


@dataclasses.dataclass(frozen=True)
class Point:
    """One threshold on one set of images: accuracy, mean MACs per image and the share of images that left early."""

    threshold: float
    accuracy: float
    macs: float
    exits: float


def anytime_curve(
    model: SingleGatedMoE, images: Array, labels: Array, thresholds: collections.abc.Sequence[float] | None = None
) -> list[Point]:
    """Accuracy against compute over thresholds, with every image computed once.

    Args:
        model: a ``SingleGatedMoE``; it is not changed.
        images, labels: ``(n, h, w, c)`` and int ``(n,)``.
        thresholds: floats in [0, 1]; None: 201 that let equally many images leave from one to the next.

    Returns:
        list of ``Point``, by rising threshold.
    """
    given = None if thresholds is None else [number("anytime_curve", "thresholds", t, 0, 1) for t in thresholds]
    seen = _see(model, images)
    thresholds = _quantiles(seen, model.get_layer("early_exit").rule) if given is None else given
    early_exit = EarlyExit(model.get_layer("early_exit").rule, dtype="float32")  # the model's own stays as it is
    seen["route"] = model.get_layer("top_k")(seen["gate_logits"])
    return [_point(model, early_exit, seen, np.asarray(labels), t) for t in sorted(thresholds)]


def fit_threshold(
    model: SingleGatedMoE, images: Array, labels: Array, budget: float | None = None, accuracy: float | None = None
) -> Point:
    """Sets ``model.threshold`` by what held-out images show, not by what the base believes of itself.

    Args:
        model: a ``SingleGatedMoE``.
        images, labels: ``(n, h, w, c)`` and int ``(n,)``: images that neither trained the model nor will measure it.
        budget: float, multiply-accumulates per image: the most accurate threshold within it.
        accuracy: float in [0, 1]: the cheapest threshold that reaches it. Give one of the two.

    Returns:
        The ``Point`` chosen: what to expect on other images.

    Raises:
        ValueError: neither or both of ``budget`` and ``accuracy``, or one that no threshold meets; the model is
            unchanged.
    """
    if (budget is None) == (accuracy is None):
        raise ValueError(f"Give `budget` or `accuracy`. Received: budget={budget!r}, accuracy={accuracy!r}")
    budget = number("fit_threshold", "budget", budget, or_none=True)
    accuracy = number("fit_threshold", "accuracy", accuracy, 0, 1, or_none=True)
    curve = anytime_curve(model, images, labels)
    if budget is not None:
        fit = [p for p in curve if p.macs <= budget]
        if not fit:
            least = min(p.macs for p in curve)
            raise ValueError(
                f"The least this model costs is {least:,.0f} MACs per image. Received: budget={budget:,.0f}"
            )
        best = max(fit, key=lambda p: (p.accuracy, -p.macs))
    else:
        fit = [p for p in curve if p.accuracy >= accuracy]
        if not fit:
            most = max(p.accuracy for p in curve)
            raise ValueError(f"The most accurate threshold gives {most:.4f}. Received: accuracy={accuracy}")
        best = min(fit, key=lambda p: (p.macs, -p.accuracy))
    model.threshold = best.threshold
    return best


def _see(model, images):
    """What base, gate and each expert say of every image: a dict of float32 arrays."""
    return {
        k: np.asarray(v, "float32")
        for k, v in model.expert_outputs().predict(images, batch_size=256, verbose=0).items()
    }


def _quantiles(seen, rule):
    unsure = 1 - np.asarray(ops.softmax(seen["base"])).max(-1)
    score = 1 - unsure if rule == "confidence" else np.asarray(ops.softmax(seen["gate_logits"])).max(-1) * unsure
    return np.unique([0.0, *np.quantile(score, np.linspace(0, 1, 199)), 1.0])


def _point(model, early_exit, seen, labels, threshold):
    early_exit.threshold = threshold
    weights = ops.convert_to_numpy(early_exit(seen["route"], seen["gate_logits"], seen["base"]))
    experts = np.einsum("nk,nkc->nc", weights, seen["experts"])
    logits = ops.convert_to_numpy(model.get_layer("ensembler")(seen["base"], experts, weights))
    return Point(
        threshold=threshold,
        accuracy=float(np.mean(logits.argmax(-1) == labels)),
        macs=model.mean_macs(route=weights),
        exits=float(np.mean(~weights.any(-1))),
    )
