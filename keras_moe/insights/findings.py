"""What the opinions of a mixture on images come to: numbers, and plain sentences that state them."""

import dataclasses

import numpy as np

from keras_moe.insights import routing, uncertainty
from keras_moe.insights.agreement import Agreement, agreement, disagreement

MEASURES = {
    "predictive entropy": "spread of the answer's probabilities",
    "disagreement": "share of experts that would not give the answer",
    "mutual information": "how far the experts' probabilities differ",
    "expert variance": "spread of the experts' probabilities for the answer",
    "gate entropy": "the gate's indecision",
}


@dataclasses.dataclass(frozen=True)
class Findings:
    """Numbers on n images; what needs labels is None where there are none.

    Attributes:
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


def find(opinions, labels=None):
    """The ``Findings`` of ``Opinions`` on images, with their true labels ``(n,)`` where known."""
    answer, shown = opinions.labels, opinions.labels if labels is None else np.asarray(labels)
    measures = {
        "predictive entropy": uncertainty.predictive_entropy(opinions.answer),
        "disagreement": disagreement(opinions.expert_labels, answer),
        "mutual information": uncertainty.mutual_information(opinions.experts),
        "expert variance": uncertainty.expert_variance(opinions.experts, answer),
        "gate entropy": routing.gate_entropy(opinions.gate),
    }
    findings = Findings(
        usage=routing.expert_usage(opinions.route),
        table=routing.class_by_expert(opinions.route, shown, opinions.answer.shape[-1]),
        shown=shown,
        agreement=agreement(opinions.expert_labels, answer, opinions.route),
        measures=measures,
        leading=routing.leading_expert(opinions.route),
        confidence=float(opinions.answer.max(-1).mean()),
    )
    if labels is None:
        return findings
    right = answer == shown
    return dataclasses.replace(
        findings,
        right=right,
        alone=opinions.expert_labels == shown,
        routed=routing.accuracy_where_routed(opinions.expert_labels, shown, opinions.route),
        reliability=uncertainty.reliability(opinions.answer, shown),
        curves={name: uncertainty.risk_coverage(values, ~right) for name, values in measures.items()},
    )


def who_does_what(f):
    """Sentences on usage and on whether the gate chooses well."""
    experts = len(f.usage.ran)
    left = f" For {f.usage.none:.1%} of the images none runs: they leave early." if f.usage.none else ""
    yield f"An image runs {f.usage.ran.sum():.2f} of {experts} experts on average.{left}"
    yield (
        f"The gate's entropy is {f.measures['gate entropy'].mean():.2f} on average, where 0 is all weight on one "
        "expert and 1 no preference at all."
    )
    routed = f.leading >= 0
    if f.right is None or experts == 1 or not routed.any():
        return
    alone, rows = f.alone[:, routed], np.arange(routed.sum())
    chosen = alone[f.leading[routed], rows]
    others = (alone.sum(0) - chosen) / (experts - 1)
    yield (
        f"On the images that run an expert, the one with the largest weight would alone be right on "
        f"{chosen.mean():.1%}, the others on {others.mean():.1%} on average: the gate's choice is worth "
        f"{100 * (chosen.mean() - others.mean()):.1f} points. On {alone.any(0).mean():.1%} at least one expert is "
        "right, which bounds what a better choice of one expert could give."
    )


def where_they_disagree(f):
    """Sentences on the cases of agreement."""
    perfect, critical = f.agreement.perfect, f.agreement.critical
    right = _accuracy(f, perfect)
    yield f"All experts and the model give the same answer on {perfect.mean():.1%} of the images{right}."
    if critical.any():
        yield f"On {critical.mean():.1%} no expert alone would give the model's answer{_accuracy(f, critical)}."
    else:
        yield "Every answer is one that at least one expert alone would give."
    yield (
        "Each expert was asked about all images here, also about those that the gate never sends it; where experts are "
        "specialised they are bound to differ."
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
    yield (
        f"Left to answer only the images that it is surest of by {name}, the best of {len(f.curves)} measures here, it "
        f"errs on {best.at(0.8):.1%} of the surest 80% and on {best.at(0.5):.1%} of the surest half, instead of "
        f"{1 - f.right.mean():.1%} of all. By disagreement of the experts alone it errs on "
        f"{f.curves['disagreement'].at(0.8):.1%} of the surest 80%."
    )
    worse = [name for name, curve in f.curves.items() if curve.area > curve.risk[-1]]
    if worse:
        yield f"Worse than answering at random would be the order by {' or '.join(worse)}."


def _accuracy(f, rows):
    return f"; it is right on {f.right[rows].mean():.1%} of these" if f.right is not None and rows.any() else ""
