"""What the reports share: pages from the templates of this room, and the tables, words and figures on them.

A page needs no other file: pictures lie inside. All text is escaped.
"""

import base64
import collections.abc
import dataclasses
import io
import typing
import warnings

import numpy as np

from keras_moe.checks import require
from keras_moe.insights.measures.summary import Summary
from keras_moe.insights.plots.uncertainty import plot_reliability, plot_risk_coverage
from keras_moe.insights.report import sentences
from keras_moe.zoo import Card

if typing.TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS = {
    "expert k alone": "the whole model with all routing weight on expert k (a base, if there is one, still takes part)",
    "leads": "the expert has the largest routing weight of those that ran for the image",
    "perfect, normal k, critical": "all experts and the model predict the same; the experts differ and the model "
    "predicts what expert k does (of several supporters the one with the largest weight); it predicts what no expert "
    "does",
    "predictive entropy": "entropy of the model's probabilities, divided by log of the number of classes",
    "mutual information": "entropy of the experts' mean probabilities less the mean of their entropies, divided by log "
    "of the number of classes",
    "expert variance": "standard deviation over experts of the predicted label's probability, divided by the largest "
    "of those compared",
    "gate entropy": "entropy of the softmax of the gate's logits, divided by log of the number of experts",
    "ECE": "expected calibration error: the gap between confidence and accuracy in 15 equal bins of confidence, "
    "weighted by the predictions in each",
    "area": "mean error over all shares of images (or pixels) kept, the surest first; the smaller, the better the "
    "measure tells right from wrong",
}


def render(template: str, **values: object) -> str:
    """The page that a file of ``templates`` makes of ``values``.

    Raises:
        ImportError: without jinja2.
    """
    require("A report", "viz", "jinja2")
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("keras_moe.insights.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"svg": svg, "thumbnail": thumbnail}
    return environment.get_template(template).render(sentences=sentences, **values)


def svg(figure: "Figure") -> str:
    """A matplotlib figure as the source of an ``<img>``.

    Its words stay words, which the browser writes in fonts of its own: matplotlib's have no Chinese, Japanese or Hindi.
    """
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "keras_moe"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(buffer, format="svg", dpi=110, metadata={"Date": None})
    return _source(buffer, "svg+xml")


def thumbnail(image: np.ndarray, size: int = 64) -> str:
    """A small picture of an image ``(h, w, c)`` in [0, 255] as the source of an ``<img>``."""
    from PIL import Image

    picture = Image.fromarray(np.squeeze(np.asarray(image).astype("uint8"), -1 if image.shape[-1] == 1 else ()))
    buffer = io.BytesIO()
    picture.resize((size, size), Image.Resampling.NEAREST).save(buffer, "png")
    return _source(buffer, "png")


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text below a header; the header may be empty."""

    header: collections.abc.Sequence[str]
    rows: collections.abc.Sequence[collections.abc.Sequence[str]]


def pairs(values: dict[str, str]) -> Table:
    """``values`` as a table of two columns without a header; what is empty is left out."""
    return Table((), [pair for pair in values.items() if pair[1]])


def percent(value: float) -> str:
    """``"12.3%"``; nothing for NaN."""
    return "" if np.isnan(value) else f"{value:.1%}"


def facts(card: Card, total: float, executed: float) -> Table:
    """Facts on the model from its card; ``total`` and ``executed``: MACs per image here."""
    metrics = ", ".join(
        f"{m.text()} {m.name} on {m.split}" + f" ({len(m.seeds)} seeds)" * (len(m.seeds) > 1) for m in card.metrics
    )
    return pairs(
        {
            "system": f"{card.model}, after {card.paper}" if card.paper else card.model,
            "size": f"{card.params:,} parameters; {total / 1e6:.2f} M multiply-accumulates with every expert, "
            f"{executed / 1e6:.2f} M executed per image here",
            "takes": f"{' x '.join(map(str, card.input.shape))}, {card.input.channels}, values in {card.input.range}",
            "tells apart": f"{len(card.classes)} classes",
            "learned from": f"{card.data.name}; terms of the data: {card.data.license}" if card.data.name else "",
            "its card says": metrics,
            "license of the weights": card.license,
        }
    )


def certainty(summary: Summary) -> dict[str, typing.Any]:
    """A table of measures of uncertainty and, where labels are known, figures, by their names in ``page.html``."""
    header = ["measure", "what it is", "mean"]
    rows = [[name, sentences.MEASURES[name], f"{values.mean():.3f}"] for name, values in summary.uncertainties.items()]
    if summary.risk_coverage is None or summary.reliability is None:
        return {"measures": Table(header, rows), "reliability": None, "risk_coverage": None}
    header += ["area", "error on the surest 80%", "on the surest half"]
    for row in rows:
        curve = summary.risk_coverage[row[0]]
        row += [f"{curve.area:.3f}", f"{curve.at(0.8):.1%}", f"{curve.at(0.5):.1%}"]
    return {
        "measures": Table(header, rows),
        "reliability": plot_reliability(summary.reliability),
        "risk_coverage": plot_risk_coverage(summary.risk_coverage, unit=summary.unit),
    }


def _source(buffer: io.BytesIO, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
