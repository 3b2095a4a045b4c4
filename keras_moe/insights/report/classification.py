"""One page on a mixture and its images, in a single file: ``create_report``."""

import numpy as np

from keras_moe.insights.plots import classification as plots
from keras_moe.insights.report import summary
from keras_moe.insights.report.html import (
    heading,
    page,
    paragraphs,
    percent,
    picture,
    table,
    thumbnail,
    tiles,
    what_it_is,
)

WORDS = {
    "expert k alone": "the whole model with all routing weight on expert k (a base, if there is one, still takes part)",
    "leads": "the expert has the largest routing weight of those that ran for the image",
    "perfect, normal k, critical": "all experts and the answer are equal; the experts differ and the answer is that of "
    "expert k (of several supporters the one with the largest weight); the answer is that of no expert",
    "predictive entropy": "entropy of the model's probabilities, divided by log of the number of classes",
    "mutual information": "entropy of the experts' mean probabilities less the mean of their entropies, divided by log "
    "of the number of classes",
    "expert variance": "standard deviation over experts of the answer's probability, divided by the largest of those "
    "compared",
    "gate entropy": "entropy of the softmax of the gate's logits, divided by log of the number of experts",
    "ECE": "expected calibration error: the gap between confidence and accuracy in 15 equal bins of confidence, "
    "weighted by the predictions in each",
    "area": "mean error over all shares of images (or pixels) answered, the surest first; the smaller, the better the "
    "measure tells right from wrong",
}


def create_report(model, card, samples, predictions):
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
    """
    if len(predictions.probabilities) != len(samples.images):
        raise ValueError(
            f"Expected predictions on {len(samples.images)} images. Received: on {len(predictions.probabilities)}"
        )
    found = summary.find(predictions, samples.labels)
    sections = [
        _head(model, card, samples, predictions, found),
        _who_does_what(card, found),
        _what_each_likes(card, samples, predictions, found),
        _where_they_disagree(card, samples, predictions, found),
        how_sure(found),
        heading("Words") + table(("", ""), WORDS.items()),
    ]
    return page(f"Insights into {card.name}", sections)


def _head(model, card, samples, predictions, f):
    executed, total = model.mean_macs(route=predictions.route), model.macs_total
    shown = {
        "images": f"{len(samples.images):,}",
        "right": "unknown" if f.right is None else f"{f.right.mean():.1%}",
        f"of {len(f.usage.ran)} experts run": f"{f.usage.ran.sum():.2f}",
        "of the MACs are executed": f"{executed / total:.0%}",
        "all experts agree": f"{f.agreement.perfect.mean():.1%}",
    }
    text = [card.summary, f"This page asks it about {samples.source}."]
    if f.right is None:
        text.append("Nobody knows their labels: classes below are the model's own answers, which may be wrong.")
    title = heading(f"{card.name}: who does what, and how sure it is", 1)
    return title + paragraphs(text) + tiles(shown) + what_it_is(card, total, executed)


def _who_does_what(card, f):
    counts = np.bincount(f.shown, minlength=len(card.classes))
    work = np.nan_to_num(f.table) * counts[:, None]
    rows = []
    for k, ran in enumerate(f.usage.ran):
        main = [c for c in np.argsort(-work[:, k], kind="stable")[:5] if work[c, k] > 0]
        mostly = ", ".join(f"{card.classes[c]} ({work[c, k] / work[:, k].sum():.0%})" for c in main) or "never ran"
        row = [f"{k}", f"{ran:.1%}", f"{(f.leading == k).mean():.1%}", mostly]
        if f.routed is not None:
            others = np.delete(f.routed[k], k)
            row += [percent(f.routed[k, k]), percent(others.mean() if len(others) else np.nan)]
        rows.append(row)
    header = ["expert", "runs for", "leads", "its work, by class"]
    header += ["alone, where it leads, it is right on", "others there"] if f.routed is not None else []
    return (
        heading("Who does what")
        + paragraphs(summary.who_does_what(f))
        + picture(plots.plot_usage(f.usage), "share of images that each expert runs for")
        + table(header, rows)
        + picture(plots.plot_class_by_expert(f.table, card.classes), "mean weight of each expert for each class")
    )


def _what_each_likes(card, samples, predictions, f):
    captions = [card.classes[c] for c in f.shown]
    ran = predictions.gate_probabilities * (predictions.route > 0)
    what = "answer" if f.right is None else "label"
    text = f"Below each image its {what} and the gate's weight for the expert, before the weaker experts are left out."
    figure = plots.plot_favourites(samples.images, ran, captions=captions)
    return heading("What each expert likes") + paragraphs([text]) + picture(figure, "favourite images of each expert")


def _where_they_disagree(card, samples, predictions, f):
    disagreement = f.measures["disagreement"]
    order = np.lexsort((-f.measures["mutual information"], -disagreement))[:10]
    header = ["image", "answer", "experts alone"] + ["label"] * (f.right is not None)
    rows = []
    for i in order[disagreement[order] > 0]:
        labels, votes = np.unique(predictions.expert_labels[:, i], return_counts=True)
        says = ", ".join(f"{card.classes[labels[j]]} ({votes[j]}x)" for j in np.argsort(-votes, kind="stable"))
        answer = f"{card.classes[predictions.predicted_labels[i]]} ({predictions.probabilities[i].max():.0%})"
        rows.append([thumbnail(samples.images[i]), answer, says] + [card.classes[f.shown[i]]] * (f.right is not None))
    return (
        heading("Where they disagree")
        + paragraphs(summary.where_they_disagree(f))
        + picture(plots.plot_agreement(f.agreement, f.right), "share of images in each case of agreement")
        + (heading("The most disputed images", 3) + table(header, rows) if rows else "")
    )


def how_sure(f):
    """The section on uncertainty and calibration of ``Findings``."""
    header, figures = ["measure", "what it is", "mean"], ""
    rows = [[name, summary.MEASURES[name], f"{values.mean():.3f}"] for name, values in f.measures.items()]
    if f.curves is not None:
        header += ["area", "error on the surest 80%", "on the surest half"]
        for row in rows:
            curve = f.curves[row[0]]
            row += [f"{curve.area:.3f}", f"{curve.at(0.8):.1%}", f"{curve.at(0.5):.1%}"]
        figures = picture(plots.plot_reliability(f.reliability), "confidence against accuracy")
        curves = plots.plot_risk_coverage(f.curves, unit=f.unit)
        figures += picture(curves, f"error against the share of {f.unit} answered")
    return heading("How sure it is") + paragraphs(summary.how_sure(f)) + table(header, rows) + figures
