"""One page on a segmentation network and its images, in a single file: ``create_scene_report``."""

import numpy as np

from keras_moe.insights.expert_predictions import ExpertPredictions
from keras_moe.insights.measures.agreement import agreement
from keras_moe.insights.measures.routing import class_by_expert
from keras_moe.insights.plots import classification as plots
from keras_moe.insights.plots import segmentation as scene_plots
from keras_moe.insights.report import summary
from keras_moe.insights.report.classification import WORDS, how_sure
from keras_moe.insights.report.html import heading, page, paragraphs, percent, picture, table, tiles, what_it_is
from keras_moe.insights.segmentation import ask, look, per_pixel

_EXPERTS = {
    "segmentation_moe": "Its experts are whole networks, each trained on a domain of its own and then frozen.",
    "patcher": "Its experts are the scales of one encoder, expert 0 the finest, and only together were they ever "
    "trained: expert k alone is the decoder shown one scale, which need not make sense, and disagreement is large.",
}
_GATES = {
    2: "The gate gives an image one weight per expert.",
    3: "The gate gives an image one weight per expert and class; the weight at a pixel is that of the class answered.",
    4: "The gate gives every cell of its map one weight per expert; a pixel has the weight of its cell.",
}
_DENSE_WORDS = ("predictive entropy", "ECE", "area")
_LEADS = {"leads": "the expert has the largest weight at the pixel"}
_MIOU = {
    "mIoU": "mean over the classes of the intersection of answer and label over their union, in all images together"
}


def create_scene_report(model, card, samples, track=iter):
    """Asks a published segmentation network about images and writes a page about it.

    Args:
        model: what ``zoo.load(card.name)`` gave; a dense network gets the sections that need no experts.
        card: its ``Card``.
        samples: ``Samples`` with masks or without, see ``read_samples``.
        track: wraps the iteration over the images, as ``rich.progress.track`` does.

    Returns:
        str, an HTML page that needs no other file and no network.

    Raises:
        ValueError: the model gives no probabilities.
    """
    scenes = look(model, samples, track)
    chosen = _chosen(scenes)
    predictions = ask(model, samples.images[list(chosen.values())])
    sections = [_head(model, card, samples, scenes), _answers(card, samples, chosen, predictions)]
    if model.gate is not None:
        sections += [
            _who_does_what(model, card, samples, scenes, chosen, predictions),
            _what_each_likes(samples, scenes),
            _where_they_disagree(samples, scenes, chosen, predictions),
        ]
    words = WORDS | _LEADS if model.gate is not None else {name: WORDS[name] for name in _DENSE_WORDS}
    sections += [
        _class_by_class(card, scenes) if scenes.right is not None else "",
        how_sure(scenes.pixels),
        _unsure(samples, chosen, predictions),
        heading("Words") + table(("", ""), (words | _MIOU).items()),
    ]
    return page(f"Insights into {card.name}", sections)


def _chosen(scenes):
    """Images to show: dict, what is special about it -> its row."""
    entropy = scenes.mean(scenes.pixels.measures["predictive entropy"])
    order = np.argsort(-np.nan_to_num(scenes.right, nan=-1) if scenes.right is not None else np.nan_to_num(entropy))
    names = ("best", "middle", "worst") if scenes.right is not None else ("surest", "middle", "least sure")
    chosen = dict(zip(names, order[[0, len(order) // 2, -1]].tolist(), strict=True))
    if "disagreement" in scenes.pixels.measures:
        chosen["most disputed"] = int(np.nanargmax(scenes.mean(scenes.pixels.measures["disagreement"])))
    return chosen


def _head(model, card, samples, scenes):
    executed, total, f = model.mean_macs(route=scenes.route), model.macs_total, scenes.pixels
    experts = len(f.usage.ran)
    shown = {"images": f"{len(samples.images):,}"}
    if scenes.right is not None:
        shown |= {"mIoU": f"{scenes.total_miou[0]:.1%}", "of the pixels are right": f"{f.right.mean():.1%}"}
    if experts > 1:
        ran = scenes.route.reshape(-1, experts) > 0
        shown |= {
            f"of {experts} experts run": f"{ran.mean(0).sum():.2f}",
            "of the MACs are executed": f"{executed / total:.0%}",
            "of the pixels: all experts agree": f"{f.agreement.perfect.mean():.1%}",
        }
    text = [card.summary, f"This page asks it about {samples.source}."]
    if scenes.step > 1:
        text.append(
            f"Intersections over unions count every pixel; all other figures one in {scenes.step**2}, on a grid: "
            f"{len(f.shown):,} pixels."
        )
    text.append(
        "Pixels without a label are left out."
        if scenes.right is not None
        else "Nobody knows the labels: classes below are the model's own answers, which may be wrong."
    )
    title = heading(f"{card.name}: {'who knows which pixel' if experts > 1 else 'what it sees'}, and how sure it is", 1)
    return title + paragraphs(text) + tiles(shown) + what_it_is(card, total, executed)


def _answers(card, samples, chosen, predictions):
    masks = samples.labels
    names: dict[int, list] = {}
    for name, row in chosen.items():
        names.setdefault(row, []).append(name)
    rows, at = list(names), [list(chosen).index(found[0]) for found in names.values()]
    figure = scene_plots.plot_scenes(
        samples.images[rows], predictions.predicted_labels[at], card.classes, None if masks is None else masks[rows],
        ["\n".join(found) for found in names.values()],
    )  # fmt: skip
    how = "the share of pixels that are right" if masks is not None else "the mean entropy of the answer"
    disputed = ", and the one on which experts disagree most" if "most disputed" in chosen else ""
    text = f"Of all images those that are first, in the middle and last by {how}{disputed}."
    return heading("What it sees") + paragraphs([text]) + picture(figure, "images, labels and answers")


def _who_does_what(model, card, samples, scenes, chosen, predictions):
    f, experts = scenes.pixels, scenes.weights.shape[1]
    experts_are = _EXPERTS.get(card.system, f"Its experts are those of {card.system}, after {card.paper}.")
    text = [experts_are, _GATES[scenes.route.ndim]]
    if model.bank is None:
        text.append("Every expert runs for every image, whatever its weight: the gate saves no compute.")
    text.append(
        f"The gate's entropy is {f.measures['gate entropy'].mean():.2f} on average, where 0 is all weight on one "
        "expert and 1 no preference at all."
    )
    text += summary.who_is_right(f)
    header = ["expert", "mean weight", "leads at", "runs for"]
    ran = scenes.route.reshape(len(scenes.route), -1, experts).any(1).mean(0)
    led = [(f.leading == k).mean() for k in range(experts)]
    rows = [
        [f"{k}", f"{f.usage.weight[k]:.2f}", f"{led[k]:.1%} of the pixels", f"{ran[k]:.1%} of the images"]
        for k in range(experts)
    ]
    if f.routed is not None:
        header += ["mIoU alone", "where it leads it is right at", "the others there"]
        for k, row in enumerate(rows):
            others = np.delete(f.routed[k], k).mean()
            row += [f"{scenes.total_miou[1 + k]:.1%}", percent(f.routed[k, k]), percent(others)]
    groups = _by_group(scenes) if len(scenes.groups) > 1 else ""
    maps = ""
    if scenes.route.ndim > 2:
        first = list(chosen).index("middle")
        for i in (first, list(chosen).index("most disputed")):
            weights = per_pixel(predictions.route[i : i + 1], predictions.predicted_labels[i : i + 1])[0]
            maps += picture(scene_plots.plot_gate_maps(samples.images[list(chosen.values())[i]], weights), "gate maps")
        maps = heading("The gate over two images, the middle one and the most disputed", 3) + maps
    return (
        heading("Who does what")
        + paragraphs(text)
        + table(header, rows)
        + groups
        + picture(scene_plots.plot_weights(scenes.weights, samples.groups), "weights of the experts in each image")
        + _class_by_expert(card, scenes)
        + maps
    )


def _class_by_expert(card, scenes):
    f = scenes.pixels
    tables = {"": f.table}
    if 1 < len(scenes.groups) <= 3 and scenes.route.ndim > 2:
        # Groups show classes differently often, which would look like the gate's doing.
        group = scenes.group[scenes.image]
        for g, name in enumerate(scenes.groups):
            own = group == g
            tables[name] = class_by_expert(scenes.pixel_route[own], f.shown[own], len(card.classes))
    return "".join(
        heading(f"Class by expert{name and ': '}{name}", 3)
        + picture(plots.plot_class_by_expert(table, card.classes), "mean weight of each expert for each class")
        for name, table in tables.items()
    )


def _by_group(scenes):
    experts = range(scenes.weights.shape[1])
    header = ["group", "images", *(f"weight of {k}" for k in experts)]
    if scenes.right is not None:
        header += ["pixels right", "mIoU", *(f"mIoU of {k} alone" for k in experts)]
    rows = []
    for g, name in enumerate(scenes.groups):
        own = scenes.group == g
        row = [name, f"{own.sum()}", *(f"{w:.2f}" for w in scenes.weights[own].mean(0))]
        if scenes.right is not None:
            pixels = scenes.pixels.right[own[scenes.image]]
            row += [percent(pixels.mean()), *(percent(value) for value in scenes.miou[:, g])]
        rows.append(row)
    return heading("By group of images", 3) + table(header, rows)


def _what_each_likes(samples, scenes):
    text = "Below each image the mean weight of the expert over its pixels."
    figure = plots.plot_favourites(samples.images, scenes.weights, captions=samples.groups, kinds="groups")
    return heading("What each expert likes") + paragraphs([text]) + picture(figure, "favourite images of each expert")


def _where_they_disagree(samples, scenes, chosen, predictions):
    f, cases = scenes.pixels, ""
    for name in ("middle", "most disputed"):
        i = list(chosen).index(name)
        weights = per_pixel(predictions.route[i : i + 1], predictions.predicted_labels[i : i + 1])[0]
        found = agreement(predictions.expert_labels[:, i], predictions.predicted_labels[i], weights)
        cases += picture(scene_plots.plot_agreement_map(samples.images[chosen[name]], found), "cases of agreement")
    return (
        heading("Where they disagree")
        + paragraphs(summary.where_they_disagree(f))
        + picture(plots.plot_agreement(f.agreement, f.right, f.unit), "share of pixels in each case of agreement")
        + heading("The middle image and the most disputed", 3)
        + cases
    )


def _class_by_class(card, scenes):
    f = scenes.pixels
    experts = range(len(f.usage.ran) if len(f.usage.ran) > 1 else 0)
    header = ["class", "of the pixels", "IoU", *(f"of {k} alone" for k in experts)]
    header += ["experts disagree on", "right there"] if experts else []
    rows = []
    for c, name in enumerate(card.classes):
        own = f.shown == c
        row = [name, percent(own.mean()), *(percent(value) for value in scenes.iou[: 1 + len(experts), c])]
        if experts and own.any():
            differ = own & ~f.agreement.perfect
            row += [percent(differ.sum() / own.sum()), percent(f.right[differ].mean() if differ.any() else np.nan)]
        rows.append(row)
    return heading("Class by class") + table(header, rows)


def _unsure(samples, chosen, predictions):
    name = "most disputed" if "most disputed" in chosen else "worst" if "worst" in chosen else "least sure"
    i, row = list(chosen).index(name), chosen[name]
    gate = per_pixel(predictions.gate_probabilities[i : i + 1], predictions.predicted_labels[i : i + 1])
    own = ExpertPredictions(
        predictions.probabilities[i : i + 1], predictions.expert_probabilities[:, i : i + 1], gate, gate
    )
    measures = {measure: values[0] for measure, values in summary.measure(own).items()}
    mask = None if samples.labels is None else samples.labels[row]
    figure = scene_plots.plot_uncertainty_maps(samples.images[row], measures, predictions.predicted_labels[i], mask)
    return heading(f"The {name} image", 3) + picture(figure, "maps of uncertainty")
