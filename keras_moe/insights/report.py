"""One page on a mixture and its images, in a single file: ``create_report``."""

import base64
import html
import io

import numpy as np

from keras_moe.insights import findings, plots

_STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 3rem; border-bottom: 1px solid #ddd; padding-bottom: .3rem; }
img { max-width: 100%; } figure { margin: 1.5rem 0; text-align: center; }
.tiles { display: flex; flex-wrap: wrap; gap: 1rem; } .tiles div { background: #f3f5f7; border-radius: .5rem;
padding: .7rem 1.1rem; } .tiles b { display: block; font-size: 1.5rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; } th, td { padding: .35rem .6rem; text-align: left;
border-bottom: 1px solid #e5e5e5; vertical-align: middle; } th { background: #f3f5f7; }
"""

_WORDS = {
    "expert k alone": "the whole model with all routing weight on expert k (a base, if there is one, still takes part)",
    "leads": "the expert has the largest routing weight of those that ran for the image",
    "perfect, normal k, critical": "all experts and the answer are equal; the experts differ and the answer is that of "
    "expert k (of several supporters the one with the largest weight); the answer is that of no expert",
    "predictive entropy": "entropy of the model's probabilities, divided by log of the number of classes",
    "mutual information": "entropy of the experts' mean probabilities less the mean of their entropies, divided by log "
    "of the number of classes",
    "expert variance": "standard deviation over experts of the answer's probability, divided by the largest on this "
    "page",
    "gate entropy": "entropy of the softmax of the gate's logits, divided by log of the number of experts",
    "ECE": "expected calibration error: the gap between confidence and accuracy in 15 equal bins of confidence, "
    "weighted by the predictions in each",
    "area": "mean error over all shares of images answered, the surest first; the smaller, the better the measure "
    "tells right from wrong",
}


class _Html(str):
    """Text that is HTML already."""


def create_report(model, card, samples, opinions):
    """Writes a page about a published classifier with a gate.

    Args:
        model: what ``zoo.load(card.name)`` gave.
        card: its ``Card``.
        samples: ``Samples``, see ``read_samples``.
        opinions: its ``Opinions`` on their images, see ``collect_opinions``.

    Returns:
        str, an HTML page that needs no other file and no network.

    Raises:
        ValueError: opinions on another number of images.
    """
    if len(opinions.answer) != len(samples.images):
        raise ValueError(f"Expected opinions on {len(samples.images)} images. Received: on {len(opinions.answer)}")
    found = findings.find(opinions, samples.labels)
    sections = [
        _head(model, card, samples, opinions, found),
        _who_does_what(card, found),
        _what_each_likes(card, samples, opinions, found),
        _where_they_disagree(card, samples, opinions, found),
        _how_sure(found),
        "<h2>Words</h2>" + _table(("", ""), _WORDS.items()),
    ]
    title = html.escape(f"Insights into {card.name}")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{''.join(sections)}\n</body></html>\n"
    )


def _head(model, card, samples, opinions, f):
    executed, total = model.macs(opinions.route), model.macs_total
    tiles = {
        "images": f"{len(samples.images):,}",
        "right": "unknown" if f.right is None else f"{f.right.mean():.1%}",
        f"of {len(f.usage.ran)} experts run": f"{f.usage.ran.sum():.2f}",
        "of the MACs are executed": f"{executed / total:.0%}",
        "all experts agree": f"{f.agreement.perfect.mean():.1%}",
    }
    shown = "".join(f"<div><b>{html.escape(v)}</b>{html.escape(k)}</div>" for k, v in tiles.items())
    metrics = ", ".join(
        f"{m.text()} {m.name} on {m.split}" + f" ({len(m.seeds)} seeds)" * (len(m.seeds) > 1) for m in card.metrics
    )
    rows = {
        "system": f"{card.model}, after {card.paper}",
        "size": f"{card.params:,} parameters; {total / 1e6:.2f} M multiply-accumulates with every expert, "
        f"{executed / 1e6:.2f} M executed per image here",
        "takes": f"{' x '.join(map(str, card.input.shape))}, {card.input.channels}, values in {card.input.range}",
        "tells apart": f"{len(card.classes)} classes",
        "learned from": f"{card.data.name}; terms of the data: {card.data.licence}",
        "its card says": metrics,
        "licence of the weights": card.licence,
    }
    text = [card.summary, f"This page asks it about {samples.source}."]
    if f.right is None:
        text.append("Nobody knows their labels: classes below are the model's own answers, which may be wrong.")
    return (
        f"<h1>{html.escape(card.name)}: who does what, and how sure it is</h1>{_paragraphs(text)}"
        f'<div class="tiles">{shown}</div><h2>What it is</h2>{_table(("", ""), rows.items())}'
    )


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
            row += [_percent(f.routed[k, k]), _percent(others.mean() if len(others) else np.nan)]
        rows.append(row)
    header = ["expert", "runs for", "leads", "its work, by class"]
    header += ["alone, where it leads, it is right on", "others there"] if f.routed is not None else []
    return (
        "<h2>Who does what</h2>"
        + _paragraphs(findings.who_does_what(f))
        + _figure(plots.plot_usage(f.usage), "share of images that each expert runs for")
        + _table(header, rows)
        + _figure(plots.plot_class_by_expert(f.table, card.classes), "mean weight of each expert for each class")
    )


def _what_each_likes(card, samples, opinions, f):
    captions = [card.classes[c] for c in f.shown]
    ran = opinions.gate * (opinions.route > 0)
    what = "answer" if f.right is None else "label"
    text = f"Below each image its {what} and the gate's weight for the expert, before the weaker experts are left out."
    figure = plots.plot_favourites(samples.images, ran, captions=captions)
    return "<h2>What each expert likes</h2>" + _paragraphs([text]) + _figure(figure, "favourite images of each expert")


def _where_they_disagree(card, samples, opinions, f):
    disagreement = f.measures["disagreement"]
    order = np.lexsort((-f.measures["mutual information"], -disagreement))[:10]
    header = ["image", "answer", "experts alone"] + ["label"] * (f.right is not None)
    rows = []
    for i in order[disagreement[order] > 0]:
        labels, votes = np.unique(opinions.expert_labels[:, i], return_counts=True)
        says = ", ".join(f"{card.classes[labels[j]]} ({votes[j]}x)" for j in np.argsort(-votes, kind="stable"))
        answer = f"{card.classes[opinions.labels[i]]} ({opinions.answer[i].max():.0%})"
        rows.append([_thumbnail(samples.images[i]), answer, says] + [card.classes[f.shown[i]]] * (f.right is not None))
    return (
        "<h2>Where they disagree</h2>"
        + _paragraphs(findings.where_they_disagree(f))
        + _figure(plots.plot_agreement(f.agreement, f.right), "share of images in each case of agreement")
        + (f"<h3>The most disputed images</h3>{_table(header, rows)}" if rows else "")
    )


def _how_sure(f):
    header, figures = ["measure", "what it is", "mean"], ""
    rows = [[name, what, f"{f.measures[name].mean():.3f}"] for name, what in findings.MEASURES.items()]
    if f.curves is not None:
        header += ["area", "error on the surest 80%", "on the surest half"]
        for row in rows:
            curve = f.curves[row[0]]
            row += [f"{curve.area:.3f}", f"{curve.at(0.8):.1%}", f"{curve.at(0.5):.1%}"]
        figures = _figure(plots.plot_reliability(f.reliability), "confidence against accuracy")
        figures += _figure(plots.plot_risk_coverage(f.curves), "error against the share of images answered")
    return "<h2>How sure it is</h2>" + _paragraphs(findings.how_sure(f)) + _table(header, rows) + figures


def _paragraphs(sentences):
    return "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)


def _table(header, rows):
    def line(cells, tag):
        return "<tr>" + "".join(f"<{tag}>{_text(cell)}</{tag}>" for cell in cells) + "</tr>"

    head = line(header, "th") if any(header) else ""
    return f"<table>{head}{''.join(line(row, 'td') for row in rows)}</table>"


def _text(cell):
    return cell if isinstance(cell, _Html) else html.escape(cell)


def _figure(figure, alt):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f"<figure>{_png(buffer.getvalue(), alt)}</figure>"


def _thumbnail(image, size=64):
    from PIL import Image

    picture = Image.fromarray(np.squeeze(np.asarray(image).astype("uint8"), -1 if image.shape[-1] == 1 else ()))
    buffer = io.BytesIO()
    picture.resize((size, size), Image.Resampling.NEAREST).save(buffer, "png")
    return _Html(_png(buffer.getvalue(), "the image"))


def _png(data, alt):
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'


def _percent(value):
    return "" if np.isnan(value) else f"{value:.1%}"
