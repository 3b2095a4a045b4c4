"""Pieces of a self-contained HTML page. All text is escaped; pictures lie inside."""

import base64
import html
import io

import numpy as np

_STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 3rem; border-bottom: 1px solid #ddd; padding-bottom: .3rem; }
img { max-width: 100%; } figure { margin: 1.5rem 0; text-align: center; }
.tiles { display: flex; flex-wrap: wrap; gap: 1rem; } .tiles div { background: #f3f5f7; border-radius: .5rem;
padding: .7rem 1.1rem; } .tiles b { display: block; font-size: 1.5rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; } th, td { padding: .35rem .6rem; text-align: left;
border-bottom: 1px solid #e5e5e5; vertical-align: middle; } th { background: #f3f5f7; }
"""


class Html(str):
    """Text that is HTML already."""


def page(title, sections):
    """The whole page. ``title`` is text, ``sections`` are HTML."""
    title = html.escape(title)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{''.join(sections)}\n</body></html>\n"
    )


def heading(text, level=2):
    """A heading."""
    return f"<h{level}>{html.escape(text)}</h{level}>"


def paragraphs(sentences):
    """A paragraph per sentence."""
    return "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)


def tiles(values):
    """A row of large figures: dict, what it is -> its value."""
    shown = "".join(f"<div><b>{html.escape(v)}</b>{html.escape(k)}</div>" for k, v in values.items())
    return f'<div class="tiles">{shown}</div>'


def table(header, rows):
    """A table. Cells are text, or ``Html``; a header of empty texts is left out."""

    def line(cells, tag):
        return "<tr>" + "".join(f"<{tag}>{_text(cell)}</{tag}>" for cell in cells) + "</tr>"

    head = line(header, "th") if any(header) else ""
    return f"<table>{head}{''.join(line(row, 'td') for row in rows)}</table>"


def picture(figure, alt):
    """A matplotlib figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f"<figure>{_png(buffer.getvalue(), alt)}</figure>"


def thumbnail(image, size=64):
    """A small picture of an image ``(h, w, c)`` in [0, 255], for a cell."""
    from PIL import Image

    picture = Image.fromarray(np.squeeze(np.asarray(image).astype("uint8"), -1 if image.shape[-1] == 1 else ()))
    buffer = io.BytesIO()
    picture.resize((size, size), Image.Resampling.NEAREST).save(buffer, "png")
    return Html(_png(buffer.getvalue(), "the image"))


def percent(value):
    """``"12.3%"``; nothing for NaN."""
    return "" if np.isnan(value) else f"{value:.1%}"


def what_it_is(card, total, executed):
    """The table of facts from a ``Card`` that every page has; ``executed``: MACs per image here."""
    metrics = ", ".join(
        f"{m.text()} {m.name} on {m.split}" + f" ({len(m.seeds)} seeds)" * (len(m.seeds) > 1) for m in card.metrics
    )
    rows = {
        "system": f"{card.model}, after {card.paper}",
        "size": f"{card.params:,} parameters; {total / 1e6:.2f} M multiply-accumulates with every expert, "
        f"{executed / 1e6:.2f} M executed per image here",
        "takes": f"{' x '.join(map(str, card.input.shape))}, {card.input.channels}, values in {card.input.range}",
        "tells apart": f"{len(card.classes)} classes",
        "learned from": f"{card.data.name}; terms of the data: {card.data.license}",
        "its card says": metrics,
        "license of the weights": card.license,
    }
    return heading("What it is") + table(("", ""), rows.items())


def _text(cell):
    return cell if isinstance(cell, Html) else html.escape(cell)


def _png(data, alt):
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
