"""One page on a mixture that classifies and its images, in a single file."""

import typing

import numpy as np

from keras_moe.insights.expert_predictions import ExpertPredictions
from keras_moe.insights.measures.summary import Summary, summarize
from keras_moe.insights.plots.agreement import plot_agreement
from keras_moe.insights.plots.routing import plot_class_by_expert, plot_favourites, plot_usage
from keras_moe.insights.report.shared import WORDS, Table, certainty, facts, pairs, percent, render
from keras_moe.insights.samples import Samples
from keras_moe.models import MoEModel
from keras_moe.zoo import Card


def create_classification_report(model: MoEModel, card: Card, samples: Samples, predictions: ExpertPredictions) -> str:
    """Writes a page about a published classifier with a gate.

    Args:
        model: what ``zoo.load(card.name)`` gave.
        card: its ``Card``.
        samples: ``Samples``, see ``read_samples``.
        predictions: its ``ExpertPredictions`` on their images, see ``collect_expert_predictions``.

    Returns:
        str, an HTML page that needs no other file and no network.

    Raises:
        ValueError: predictions on another number of images.
        ImportError: without the extra ``viz``.

    Example:
        >>> model, card = zoo.load("test_hydranet"), zoo.card("test_hydranet")
        >>> samples = insights.Samples(np.zeros((2, 8, 8, 1)), np.array([0, 1]), "two black images")
        >>> predictions = insights.collect_expert_predictions(model, samples.images)
        >>> page = insights.create_classification_report(model, card, samples, predictions)
        >>> "This page asks it about two black images." in page
        True
    """
    if len(predictions.probabilities) != len(samples.images):
        raise ValueError(
            f"Expected predictions on {len(samples.images)} images. Received: on {len(predictions.probabilities)}"
        )
    summary = summarize(predictions, samples.labels)
    executed, total = model.mean_macs(route=predictions.route), model.macs_total
    captions = [card.classes[c] for c in summary.class_of_row]
    ran = predictions.gate_probabilities * (predictions.route > 0)
    return render(
        "classification.html",
        card=card,
        samples=samples,
        summary=summary,
        question="who does what",
        notes=_notes(summary),
        key_figures=_key_figures(summary, executed / total),
        facts=facts(card, total, executed),
        usage=plot_usage(summary.usage),
        experts=_experts(card, summary),
        class_by_expert=plot_class_by_expert(summary.class_by_expert, card.classes),
        favourites=plot_favourites(samples.images, ran, captions=captions),
        agreement=plot_agreement(summary.agreement, summary.right),
        disputed=_disputed(card, samples, predictions, summary),
        certainty=certainty(summary),
        words=pairs(WORDS),
    )


def _notes(summary: Summary) -> list[str]:
    unknown = "Nobody knows their labels: classes below are the model's own predictions, which may be wrong."
    return [unknown] if summary.right is None else []


def _key_figures(summary: Summary, executed: float) -> dict[str, str]:
    return {
        "images": f"{len(summary.class_of_row):,}",
        "right": "unknown" if summary.right is None else f"{summary.right.mean():.1%}",
        f"of {len(summary.usage.ran)} experts run": f"{summary.usage.ran.sum():.2f}",
        "of the MACs are executed": f"{executed:.0%}",
        "all experts agree": f"{summary.agreement.perfect.mean():.1%}",
    }


def _experts(card: Card, summary: Summary) -> Table:
    """A row per expert: how often it runs and leads, its classes and, where labels are known, its accuracy."""
    counts = np.bincount(summary.class_of_row, minlength=len(card.classes))
    work = np.nan_to_num(summary.class_by_expert) * counts[:, None]
    rows = []
    for k, ran in enumerate(summary.usage.ran):
        main = [c for c in np.argsort(-work[:, k], kind="stable")[:5] if work[c, k] > 0]
        mostly = ", ".join(f"{card.classes[c]} ({work[c, k] / work[:, k].sum():.0%})" for c in main) or "never ran"
        row = [f"{k}", f"{ran:.1%}", f"{(summary.leading == k).mean():.1%}", mostly]
        if summary.accuracy_where_routed is not None:
            accuracies = summary.accuracy_where_routed[k]
            others = np.delete(accuracies, k)
            row += [percent(accuracies[k]), percent(others.mean() if len(others) else np.nan)]
        rows.append(row)
    header = ["expert", "runs for", "leads", "its work, by class"]
    has_labels = summary.accuracy_where_routed is not None
    return Table([*header, "alone, where it leads, it is right on", "others there"] if has_labels else header, rows)


def _disputed(
    card: Card, samples: Samples, predictions: ExpertPredictions, summary: Summary
) -> dict[str, list[typing.Any]]:
    """The images on which most experts disagree: a header, and rows of an image and texts."""
    disagreement = summary.uncertainties["disagreement"]
    order = np.lexsort((-summary.uncertainties["mutual information"], -disagreement))[:10]
    has_labels = summary.right is not None
    rows = []
    for i in order[disagreement[order] > 0]:
        labels, votes = np.unique(predictions.expert_labels[:, i], return_counts=True)
        says = ", ".join(f"{card.classes[labels[j]]} ({votes[j]}x)" for j in np.argsort(-votes, kind="stable"))
        prediction = f"{card.classes[predictions.predicted_labels[i]]} ({predictions.probabilities[i].max():.0%})"
        label = [card.classes[summary.class_of_row[i]]] if has_labels else []
        rows.append((samples.images[i], [prediction, says, *label]))
    return {"header": ["image", "prediction", "experts alone", *["label"] * has_labels], "rows": rows}
