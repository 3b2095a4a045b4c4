"""What the predictions of a mixture on images come to: numbers, and plain sentences that state them."""

import dataclasses

import numpy as np

from keras_moe.insights.measures import routing, uncertainty
from keras_moe.insights.measures.agreement import Agreement, agreement, disagreement

MEASURES = {
    "predictive entropy": "spread of the answer's probabilities",
    "disagreement": "share of experts that would not give the answer",
    "mutual information": "how far the experts' probabilities differ",
    "expert variance": "spread of the experts' probabilities for the answer",
    "gate entropy": "the gate's indecision",
}


@dataclasses.dataclass(frozen=True)
class Findings:
    """Numbers on n rows, images or pixels; what needs labels is None where there are none.

    Attributes:
        unit: what a row is: ``"images"`` or ``"pixels"``.
        usage: a ``Usage``.
        table: ``(classes, experts)`` of ``class_by_expert``, by label or, without labels, by answer.
        shown: int ``(n,)``, the labels or answers that ``table`` counts.
        agreement: an ``Agreement``.
        measures: dict, name of a measure of uncertainty (see ``MEASURES``) -> float ``(n,)``.
        right: bool ``(n,)``, whether the answer is right.
        alone: bool ``(experts, n)``, whether that of each expert alone is.
        leading: int ``(n,)``, the expert of largest weight; -1: none ran.
        routed: ``(experts, experts)`` of ``accuracy_where_routed``.
        reliability: a ``Reliability``.
        confidence: float, mean probability of the answer.
        curves: dict, name of the measure -> its ``RiskCoverage``.
    """

    unit: str
    usage: routing.Usage
    table: np.ndarray
    shown: np.ndarray
    agreement: Agreement
    measures: dict
    leading: np.ndarray
    confidence: float
    right: np.ndarray | None = None
    alone: np.ndarray | None = None
    routed: np.ndarray | None = None
    reliability: uncertainty.Reliability | None = None
    curves: dict | None = None


def find(predictions, labels=None, unit="images"):
    """The ``Findings`` of ``ExpertPredictions`` on n images, or n pixels, with their true labels ``(n,)`` where known.

    Of a single expert, a dense network, predictive entropy is the only measure.
    """
    answer, shown = predictions.predicted_labels, predictions.predicted_labels if labels is None else np.asarray(labels)
    findings = Findings(
        unit=unit,
        usage=routing.expert_usage(predictions.route),
        table=routing.class_by_expert(predictions.route, shown, predictions.probabilities.shape[-1]),
        shown=shown,
        agreement=agreement(predictions.expert_labels, answer, predictions.route),
        measures=measure(predictions),
        leading=routing.leading_expert(predictions.route),
        confidence=float(predictions.probabilities.max(-1).mean()),
    )
    if labels is None:
        return findings
    right = answer == shown
    return dataclasses.replace(
        findings,
        right=right,
        alone=predictions.expert_labels == shown,
        routed=routing.accuracy_where_routed(predictions.expert_labels, shown, predictions.route),
        reliability=uncertainty.reliability(predictions.probabilities, shown),
        curves={name: uncertainty.risk_coverage(values, ~right) for name, values in findings.measures.items()},
    )


def measure(predictions):
    """The ``MEASURES`` of ``ExpertPredictions``: dict, name -> float ``(n, ...)``."""
    found = {"predictive entropy": uncertainty.predictive_entropy(predictions.probabilities)}
    if len(predictions.expert_probabilities) == 1:
        return found
    return found | {
        "disagreement": disagreement(predictions.expert_labels, predictions.predicted_labels),
        "mutual information": uncertainty.mutual_information(predictions.expert_probabilities),
        "expert variance": uncertainty.expert_variance(predictions.expert_probabilities, predictions.predicted_labels),
        "gate entropy": routing.gate_entropy(predictions.gate_probabilities),
    }


def who_does_what(f):
    """Sentences on usage, of images, and on whether the gate chooses well."""
    experts = len(f.usage.ran)
    left = f" For {f.usage.none:.1%} of the images none runs: they leave early." if f.usage.none else ""
    yield f"An image runs {f.usage.ran.sum():.2f} of {experts} experts on average.{left}"
    yield (
        f"The gate's entropy is {f.measures['gate entropy'].mean():.2f} on average, where 0 is all weight on one "
        "expert and 1 no preference at all."
    )
    yield from who_is_right(f)


def who_is_right(f):
    """Sentences on whether the gate chooses well."""
    experts, routed = len(f.usage.ran), f.leading >= 0
    if f.right is None or experts == 1 or not routed.any():
        return
    alone, rows = f.alone[:, routed], np.arange(routed.sum())
    chosen = alone[f.leading[routed], rows]
    others = (alone.sum(0) - chosen) / (experts - 1)
    yield (
        f"Of the {f.unit} for which an expert runs, the one with the largest weight would alone be right on "
        f"{chosen.mean():.1%}, the others on {others.mean():.1%} on average: the gate's choice is worth "
        f"{100 * (chosen.mean() - others.mean()):.1f} points. On {alone.any(0).mean():.1%} at least one expert is "
        "right, which bounds what a better choice of one expert could give."
    )


def where_they_disagree(f):
    """Sentences on the cases of agreement."""
    perfect, critical = f.agreement.perfect, f.agreement.critical
    right = _accuracy(f, perfect)
    yield f"All experts and the model give the same answer on {perfect.mean():.1%} of the {f.unit}{right}."
    if critical.any():
        share = f"{critical.mean():.1%}" if critical.mean() >= 5e-4 else "less than 0.1%"
        yield f"On {share} no expert alone would give the model's answer{_accuracy(f, critical)}."
    else:
        yield "Every answer is one that at least one expert alone would give."
    yield (
        f"Each expert was asked about all {f.unit} here, also about those that the gate never gives it; where experts "
        "are specialised they are bound to differ."
    )


def how_sure(f):
    """Sentences on calibration and on abstaining."""
    yield f"The mean probability of an answer is {f.confidence:.1%}."
    if f.right is None:
        return
    excess = 100 * (f.confidence - f.right.mean())
    yield (
        f"The accuracy is {f.right.mean():.1%}: the model is {'over' if excess > 0 else 'under'}-confident by "
        f"{abs(excess):.1f} points. Bin by bin the gap is {100 * f.reliability.ece:.1f} points (ECE, 15 bins)."
    )
    name, best = min(f.curves.items(), key=lambda item: item[1].area)
    of = f", the best of {len(f.curves)} measures here," if len(f.curves) > 1 else ""
    yield (
        f"Left to answer only the {f.unit} that it is surest of by {name}{of} it errs on {best.at(0.8):.1%} of the "
        f"surest 80% and on {best.at(0.5):.1%} of the surest half, instead of {1 - f.right.mean():.1%} of all."
    )
    if "disagreement" in f.curves:
        yield (
            f"By disagreement of the experts alone it errs on {f.curves['disagreement'].at(0.8):.1%} of the surest 80%."
        )
    worse = [name for name, curve in f.curves.items() if curve.area > curve.risk[-1]]
    if worse:
        yield f"Worse than answering at random would be the order by {' or '.join(worse)}."


def _accuracy(f, rows):
    return f"; it is right on {f.right[rows].mean():.1%} of these" if f.right is not None and rows.any() else ""
