"""The any-time curve of a single-gated MoE, and the threshold for a budget or an accuracy."""

from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_moe.checks import class_labels, number
from keras_moe.layers import EarlyExit
from keras_moe.models.single_gated import SingleGatedMoE
from keras_moe.training.operating_point import OperatingPoint, fit_knob, measured_point
from keras_moe.types import Array


def anytime_curve(
    model: SingleGatedMoE, images: Array, labels: Array, values: Sequence[float] | None = None
) -> list[OperatingPoint]:
    """Accuracy against compute over thresholds, with every image computed once.

    Args:
        model: a ``SingleGatedMoE``; it is not changed.
        images, labels: ``(n, h, w, c)`` and int ``(n,)``.
        values: thresholds, floats in [0, 1]; None: 201 that let equally many images leave from one to the next.

    Returns:
        list of ``OperatingPoint``, by rising threshold; ``quality`` is the accuracy, ``exits`` the share of images that
        leave early.

    Raises:
        ValueError: labels that are no classes of the model, one for each image.

    Example:
        >>> images, labels = datasets.digits()[1]
        >>> model = zoo.load("test_single_gated", classifier_activation=None)
        >>> base_alone, full_mixture = training.anytime_curve(model, images, labels, values=[0.0, 1.0])
        >>> base_alone.exits, full_mixture.exits
        (1.0, 0.0)
        >>> base_alone.macs < full_mixture.macs
        True
    """
    values = None if values is None else [number("anytime_curve", "values", v, 0, 1) for v in values]
    labels = class_labels("anytime_curve", "labels", labels, (len(images),), model.output_shape[-1])
    return curve_of_outputs(model, outputs_of_networks(model, images), labels, values)


def fit_threshold(
    model: SingleGatedMoE, images: Array, labels: Array, budget: float | None = None, quality: float | None = None
) -> OperatingPoint:
    """Sets ``model.threshold`` by the accuracy on held-out images, not by the base's confidence in itself.

    Args:
        model: a ``SingleGatedMoE``.
        images, labels: ``(n, h, w, c)`` and int ``(n,)``: images that neither trained the model nor will measure it.
        budget: float, multiply-accumulates per image: the most accurate threshold within it is taken.
        quality: float, an accuracy in [0, 1]: the cheapest threshold that reaches it is taken. Give one of the two.

    Returns:
        The ``OperatingPoint`` chosen, an estimate for other images.

    Raises:
        ValueError: neither or both of ``budget`` and ``quality``, or one that no threshold meets; the model is
            unchanged.

    Example:
        >>> images, labels = datasets.digits()[1]
        >>> model = zoo.load("test_single_gated", classifier_activation=None)
        >>> point = training.fit_threshold(model, images, labels, quality=0.9)
        >>> point.quality >= 0.9, model.threshold == point.value
        (True, True)
    """
    if (budget is None) == (quality is None):
        raise ValueError(f"fit_threshold: give `budget` or `quality`. Received: budget={budget!r}, quality={quality!r}")

    def preference(point: OperatingPoint) -> tuple[float, float]:
        return (point.macs, -point.quality) if budget is None else (-point.quality, point.macs)

    def candidates() -> list[OperatingPoint]:
        return sorted(anytime_curve(model, images, labels), key=preference)

    return fit_knob("fit_threshold", model, "threshold", candidates, budget, quality)


def curve_of_outputs(
    model: SingleGatedMoE, outputs: dict[str, Array], labels: Array, values: Sequence[float] | None = None
) -> list[OperatingPoint]:
    """The curve from ``outputs_of_networks``, which models that differ in rule or ``top_k`` alone share."""
    rule = model.get_layer("early_exit").rule
    thresholds = _quantiles(outputs, rule) if values is None else values
    early_exit = EarlyExit(rule, dtype="float32")  # leaves the model's own unchanged
    routed = {**outputs, "route": model.get_layer("top_k")(outputs["gate_logits"])}
    return [_point(model, early_exit, routed, labels, t) for t in sorted(thresholds)]


def outputs_of_networks(model: SingleGatedMoE, images: Array) -> dict[str, Array]:
    """The outputs of base, gate and each expert for every image: a dict of float32 arrays."""
    outputs = model.expert_outputs().predict(images, batch_size=256, verbose=0)
    return {name: np.asarray(values, "float32") for name, values in outputs.items()}


def _quantiles(outputs: dict[str, Array], rule: str) -> list[float]:
    certainty = {name: ops.convert_to_numpy(ops.softmax(outputs[name])).max(-1) for name in ("base", "gate_logits")}
    score = certainty["base"] if rule == "confidence" else certainty["gate_logits"] * (1 - certainty["base"])
    return sorted({0.0, *np.quantile(score, np.linspace(0, 1, 199)).tolist(), 1.0})


def _point(
    model: SingleGatedMoE, early_exit: EarlyExit, outputs: dict[str, Array], labels: Array, threshold: float
) -> OperatingPoint:
    early_exit.threshold = threshold
    weights = ops.convert_to_numpy(early_exit(outputs["route"], outputs["gate_logits"], outputs["base"]))
    experts = np.einsum("nk,nkc->nc", weights, outputs["experts"])
    logits = ops.convert_to_numpy(model.get_layer("ensembler")(outputs["base"], experts, weights))
    return measured_point(model, threshold, weights, float(np.mean(logits.argmax(-1) == labels)))
