"""Self-contained HTML pages from the templates of this room. All text is escaped; pictures lie inside."""

import base64
import io
import typing

import numpy as np

from keras_moe.checks import require
from keras_moe.insights.report import sentences

if typing.TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    environment.filters |= {"png": png, "thumbnail": thumbnail}
    return environment.get_template(template).render(sentences=sentences, **values)


def png(figure: "Figure") -> str:
    """A matplotlib figure as the source of an ``<img>``."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return _source(buffer)


def thumbnail(image: np.ndarray, size: int = 64) -> str:
    """A small picture of an image ``(h, w, c)`` in [0, 255] as the source of an ``<img>``."""
    from PIL import Image

    picture = Image.fromarray(np.squeeze(np.asarray(image).astype("uint8"), -1 if image.shape[-1] == 1 else ()))
    buffer = io.BytesIO()
    picture.resize((size, size), Image.Resampling.NEAREST).save(buffer, "png")
    return _source(buffer)


def _source(buffer: io.BytesIO) -> str:
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
