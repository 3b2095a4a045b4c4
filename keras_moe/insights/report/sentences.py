"""Plain sentences that state what a ``Summary`` holds."""

import collections.abc

import numpy as np

from keras_moe.insights.measures.summary import Summary

MEASURES = {
    "predictive entropy": "spread of the prediction's probabilities",
    "disagreement": "share of experts that would not give the model's prediction",
    "mutual information": "how far the experts' probabilities differ",
    "expert variance": "spread of the experts' probabilities for the predicted label",
    "gate entropy": "the gate's indecision",
}

Sentences = collections.abc.Iterator[str]


def who_does_what(summary: Summary) -> Sentences:
    """On usage, of images, and on whether the gate chooses well."""
    usage = summary.usage
    early = f" For {usage.none:.1%} of the images none runs: they leave early." if usage.none else ""
    yield f"An image runs {usage.ran.sum():.2f} of {len(usage.ran)} experts on average.{early}"
    yield gate_entropy(summary)
    yield from who_is_right(summary)


def gate_entropy(summary: Summary) -> str:
    """On the gate's indecision."""
    return (
        f"The gate's entropy is {summary.uncertainties['gate entropy'].mean():.2f} on average, where 0 is all weight "
        "on one expert and 1 no preference at all."
    )


def who_is_right(summary: Summary) -> Sentences:
    """On whether the gate chooses well."""
    experts, routed = len(summary.usage.ran), summary.leading >= 0
    if summary.expert_right is None or experts == 1 or not routed.any():
        return
    alone, rows = summary.expert_right[:, routed], np.arange(routed.sum())
    chosen = alone[summary.leading[routed], rows]
    others = (alone.sum(0) - chosen) / (experts - 1)
    yield (
        f"Of the {summary.unit} for which an expert runs, the one with the largest weight would alone be right on "
        f"{chosen.mean():.1%}, the others on {others.mean():.1%} on average: the gate's choice is worth "
        f"{100 * (chosen.mean() - others.mean()):.1f} points. On {alone.any(0).mean():.1%} at least one expert is "
        "right, which bounds what a better choice of one expert could give."
    )


def where_they_disagree(summary: Summary) -> Sentences:
    """On the cases of agreement."""
    perfect, critical = summary.agreement.perfect, summary.agreement.critical
    accuracy = _accuracy(summary, perfect)
    yield f"All experts and the model give the same prediction on {perfect.mean():.1%} of the {summary.unit}{accuracy}."
    if critical.any():
        share = f"{critical.mean():.1%}" if critical.mean() >= 5e-4 else "less than 0.1%"
        yield f"On {share} no expert alone would give the model's prediction{_accuracy(summary, critical)}."
    else:
        yield "Every prediction is one that at least one expert alone would give."
    yield (
        f"Each expert was asked about all {summary.unit} here, also about those that the gate never gives it; where "
        "experts are specialised they are bound to differ."
    )


def how_sure(summary: Summary) -> Sentences:
    """On calibration and on abstaining."""
    yield f"The mean probability of a predicted label is {summary.confidence:.1%}."
    if summary.right is None or summary.reliability is None or summary.risk_coverage is None:
        return
    accuracy, curves = summary.right.mean(), summary.risk_coverage
    excess = 100 * (summary.confidence - accuracy)
    yield (
        f"The accuracy is {accuracy:.1%}: the model is {'over' if excess > 0 else 'under'}-confident by "
        f"{abs(excess):.1f} points. Bin by bin the gap is {100 * summary.reliability.ece:.1f} points (ECE, 15 bins)."
    )
    name, best = min(curves.items(), key=lambda item: item[1].area)
    of = f", the best of {len(curves)} measures here," if len(curves) > 1 else ""
    yield (
        f"Left to predict only the {summary.unit} that it is surest of by {name}{of} it errs on {best.at(0.8):.1%} of "
        f"the surest 80% and on {best.at(0.5):.1%} of the surest half, instead of {1 - accuracy:.1%} of all."
    )
    if "disagreement" in curves:
        yield f"By disagreement of the experts alone it errs on {curves['disagreement'].at(0.8):.1%} of the surest 80%."
    worse = [name for name, curve in curves.items() if curve.area > curve.risk[-1]]
    if worse:
        yield f"Worse than an order at random is the order by {' or '.join(worse)}."


def _accuracy(summary: Summary, rows: np.ndarray) -> str:
    if summary.right is None or not rows.any():
        return ""
    return f"; it is right on {summary.right[rows].mean():.1%} of these"
