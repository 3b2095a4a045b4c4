"""One page on a segmentation network and its images, in a single file."""

import typing

import numpy as np

from keras_moe.insights.measures.routing import class_by_expert
from keras_moe.insights.measures.summary import Summary
from keras_moe.insights.plots.agreement import plot_agreement
from keras_moe.insights.plots.masks import plot_predicted_masks
from keras_moe.insights.plots.routing import plot_class_by_expert, plot_favourites, plot_routing_weights
from keras_moe.insights.report.examples import Example, choose_examples
from keras_moe.insights.report.shared import WORDS, Table, certainty, facts, pairs, percent, render
from keras_moe.insights.samples import Samples
from keras_moe.insights.segmentation_predictions import SegmentationPredictions
from keras_moe.models import MoEModel
from keras_moe.zoo import Card

_EXPERTS = {
    "segmentation_moe": "Its experts are whole networks, each trained on a domain of its own and then frozen.",
    "patcher": "Its experts are the scales of one encoder, expert 0 the finest, and only together were they ever "
    "trained: expert k alone is the decoder shown one scale, which need not make sense, and disagreement is large.",
}
_GATES = {
    2: "The gate gives an image one weight per expert.",
    3: "The gate gives an image one weight per expert and class; the weight at a pixel is that of the predicted class.",
    4: "The gate gives every cell of its map one weight per expert; a pixel has the weight of its cell.",
}
_DENSE_WORDS = {name: WORDS[name] for name in ("predictive entropy", "ECE", "area")}
_MOE_WORDS = WORDS | {"leads": "the expert has the largest weight at the pixel"}
_MIOU = {
    "mIoU": "mean over the classes of the intersection of prediction and label over their union, in all images together"
}


def create_segmentation_report(
    model: MoEModel, card: Card, samples: Samples, predictions: SegmentationPredictions
) -> str:
    """Writes a page about a published segmentation network.

    Args:
        model: what ``zoo.load(card.name)`` gave; a dense network gets the sections that need no experts.
        card: its ``Card``.
        samples: ``Samples`` with masks or without, see ``read_samples``.
        predictions: its ``SegmentationPredictions`` on their images, see ``collect_segmentation_predictions``.

    Returns:
        str, an HTML page that needs no other file and no network.

    Raises:
        ValueError: predictions on another number of images.
        ImportError: without the extra ``viz``.

    Example:
        >>> model, card = zoo.load("test_segmentation"), zoo.card("test_segmentation")
        >>> samples = insights.Samples(np.zeros((1, 16, 16, 1)), None, "a black image")
        >>> predictions = insights.collect_segmentation_predictions(model, samples)
        >>> page = insights.create_segmentation_report(model, card, samples, predictions)
        >>> "Nobody knows the labels" in page
        True
    """
    if len(predictions.route) != len(samples.images):
        raise ValueError(f"Expected predictions on {len(samples.images)} images. Received: on {len(predictions.route)}")
    summary, has_experts = predictions.pixels, model.gate is not None
    executed, total = model.mean_macs(route=predictions.route), model.macs_total
    examples = choose_examples(model, samples, predictions)
    least_sure = next(name for name in ("most disputed", "worst", "least sure") if name in examples)
    return render(
        "segmentation.html",
        card=card,
        samples=samples,
        predictions=predictions,
        summary=summary,
        question="who knows which pixel" if len(summary.usage.ran) > 1 else "what it sees",
        notes=_notes(predictions),
        key_figures=_key_figures(predictions, executed / total),
        facts=facts(card, total, executed),
        predicted_masks=_predicted_masks(card, examples),
        has_experts=has_experts,
        **(_about_experts(model, card, samples, predictions, examples) if has_experts else {}),
        classes=_class_by_class(card, predictions) if summary.right is not None else None,
        certainty=certainty(summary),
        least_sure=least_sure,
        uncertainty_maps=examples[least_sure].uncertainty_maps(),
        words=pairs((_MOE_WORDS if has_experts else _DENSE_WORDS) | _MIOU),
    )


def _notes(predictions: SegmentationPredictions) -> list[str]:
    notes = []
    if predictions.step > 1:
        notes.append(
            f"Intersections over unions count every pixel; all other figures one in {predictions.step**2}, on a grid: "
            f"{len(predictions.image):,} pixels."
        )
    unknown = "Nobody knows the labels: classes below are the model's own predictions, which may be wrong."
    return [*notes, unknown if predictions.right is None else "Pixels without a label are left out."]


def _key_figures(predictions: SegmentationPredictions, executed: float) -> dict[str, str]:
    summary, experts = predictions.pixels, predictions.weights.shape[1]
    figures = {"images": f"{len(predictions.route):,}"}
    if summary.right is not None:
        figures["mIoU"] = f"{predictions.total_miou[0]:.1%}"
        figures["of the pixels are right"] = f"{summary.right.mean():.1%}"
    if experts > 1:
        ran = predictions.route.reshape(-1, experts) > 0
        figures[f"of {experts} experts run"] = f"{ran.mean(0).sum():.2f}"
        figures["of the MACs are executed"] = f"{executed:.0%}"
        figures["of the pixels: all experts agree"] = f"{summary.agreement.perfect.mean():.1%}"
    return figures


def _predicted_masks(card: Card, examples: dict[str, Example]) -> typing.Any:
    """A figure of the examples, each image once."""
    names: dict[int, list[str]] = {}
    for name, example in examples.items():
        names.setdefault(example.row, []).append(name)
    distinct = [examples[same[0]] for same in names.values()]
    masks = [example.mask for example in distinct if example.mask is not None]
    return plot_predicted_masks(
        np.stack([example.image for example in distinct]),
        np.stack([example.predicted_labels for example in distinct]),
        card.classes,
        np.stack(masks) if masks else None,
        ["\n".join(same) for same in names.values()],
    )


def _about_experts(
    model: MoEModel, card: Card, samples: Samples, predictions: SegmentationPredictions, examples: dict[str, Example]
) -> dict[str, typing.Any]:
    """The values of the template that a mixture has and a dense network lacks."""
    summary, two = predictions.pixels, (examples["middle"], examples["most disputed"])
    weighs_pixels = predictions.route.ndim > 2
    return {
        "about_experts": _EXPERTS.get(card.system, f"Its experts are those of {card.model}."),
        "about_gate": _GATES[predictions.route.ndim],
        "saves_compute": model.bank is not None,
        "experts": _experts(predictions),
        "groups": _by_group(predictions) if len(predictions.groups) > 1 else None,
        "routing_weights": plot_routing_weights(predictions.weights, samples.groups),
        "class_by_expert": {
            name: plot_class_by_expert(table, card.classes)
            for name, table in _class_by_expert(card, predictions).items()
        },
        "gate_maps": [example.gate_map() for example in two] if weighs_pixels else [],
        "favourites": plot_favourites(samples.images, predictions.weights, captions=samples.groups, kinds="groups"),
        "agreement": plot_agreement(summary.agreement, summary.right, summary.unit),
        "agreement_maps": [example.agreement_map() for example in two],
    }


def _experts(predictions: SegmentationPredictions) -> Table:
    """A row per expert: its weight, where it leads and runs and, where labels are known, its accuracy."""
    summary, experts = predictions.pixels, predictions.weights.shape[1]
    header = ["expert", "mean weight", "leads at", "runs for"]
    ran = predictions.route.reshape(len(predictions.route), -1, experts).any(1).mean(0)
    leads = [(summary.leading == k).mean() for k in range(experts)]
    rows = [
        [f"{k}", f"{summary.usage.weight[k]:.2f}", f"{leads[k]:.1%} of the pixels", f"{ran[k]:.1%} of the images"]
        for k in range(experts)
    ]
    if summary.accuracy_where_routed is not None:
        header += ["mIoU alone", "where it leads it is right at", "the others there"]
        for k, row in enumerate(rows):
            accuracies = summary.accuracy_where_routed[k]
            row += [f"{predictions.total_miou[1 + k]:.1%}", percent(accuracies[k])]
            row.append(percent(np.delete(accuracies, k).mean()))
    return Table(header, rows)


def _by_group(predictions: SegmentationPredictions) -> Table:
    """A row per group of images."""
    experts = range(predictions.weights.shape[1])
    header = ["group", "images", *(f"weight of {k}" for k in experts)]
    right = predictions.pixels.right
    if right is not None:
        header += ["pixels right", "mIoU", *(f"mIoU of {k} alone" for k in experts)]
    rows = []
    for g, name in enumerate(predictions.groups):
        in_group = predictions.group == g
        row = [name, f"{in_group.sum()}", *(f"{w:.2f}" for w in predictions.weights[in_group].mean(0))]
        if right is not None:
            row.append(percent(right[in_group[predictions.image]].mean()))
            row += [percent(value) for value in predictions.miou[:, g]]
        rows.append(row)
    return Table(header, rows)


def _class_by_expert(card: Card, predictions: SegmentationPredictions) -> dict[str, np.ndarray]:
    """Of all images, by the empty name, and of each group: mean weight of each expert for each class."""
    summary = predictions.pixels
    tables = {"": summary.class_by_expert}
    if 1 < len(predictions.groups) <= 3 and predictions.route.ndim > 2:
        # Groups show classes differently often, which would look like the gate's doing.
        group = predictions.group[predictions.image]
        for g, name in enumerate(predictions.groups):
            route, classes = predictions.pixel_route[group == g], summary.class_of_row[group == g]
            tables[name] = class_by_expert(route, classes, len(card.classes))
    return tables


def _class_by_class(card: Card, predictions: SegmentationPredictions) -> Table:
    """A row per class: its share, IoU, and where experts disagree about it."""
    summary = predictions.pixels
    experts = range(len(summary.usage.ran) if len(summary.usage.ran) > 1 else 0)
    header = ["class", "of the pixels", "IoU", *(f"of {k} alone" for k in experts)]
    header += ["experts disagree on", "right there"] if experts else []
    rows = []
    for c, name in enumerate(card.classes):
        of_class = summary.class_of_row == c
        row = [name, percent(of_class.mean()), *(percent(value) for value in predictions.iou[: 1 + len(experts), c])]
        if experts and of_class.any():
            row += _disagreement(summary, of_class)
        rows.append(row)
    return Table(header, rows)


def _disagreement(summary: Summary, of_class: np.ndarray) -> list[str]:
    """The share of a class's pixels on which experts disagree, and the accuracy there."""
    disputed = of_class & ~summary.agreement.perfect
    right = np.nan if summary.right is None or not disputed.any() else summary.right[disputed].mean()
    return [percent(disputed.sum() / of_class.sum()), percent(right)]
