"""Helpers of all figures: sizes, colours, and images on axes."""

import typing
import unicodedata

import numpy as np

from keras_moe.insights.measures.agreement import Agreement
from keras_moe.metrics import IGNORE

if typing.TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Colour: typing.TypeAlias = str | tuple[float, float, float, float]

CRITICAL, PERFECT = "#d62728", "#d9d9d9"


def figure(width: float, height: float) -> "Figure":
    """An empty matplotlib figure, of inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def axes(width: float, height: float) -> "tuple[Figure, Axes]":
    """``(figure, axes)``: a figure of one plot."""
    new = figure(width, height)
    return new, new.subplots()


def grid(image: np.ndarray, panels: int, titles: float) -> "tuple[Figure, np.ndarray]":
    """``(figure, axes)``: room for ``panels`` pictures of the image's shape, titles of some inches above each."""
    lines = -(-panels // 5)
    columns = -(-panels // lines)
    height = 2.8 * image.shape[0] / image.shape[1] + titles
    new = figure(2.8 * columns + 0.8, height * lines + 0.4)
    panes = new.subplots(lines, columns, squeeze=False).reshape(-1)
    for pane in panes:
        pane.axis("off")
    return new, panes


def plain(text: str, longest: int = 24) -> str:
    """``text`` cut to a width, with its dollar signs escaped; Chinese, Japanese and Korean characters count twice."""
    widths = np.cumsum([2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text])
    if len(text) and widths[-1] > longest:
        text = text[: int(np.searchsorted(widths, longest - 1, side="right"))] + "…"
    return text.replace("$", r"\$")


def colours(count: int) -> list[Colour]:
    """One colour per expert."""
    from matplotlib import colormaps

    # Red is left for critical cases, grey for perfect ones.
    palette = [colormaps["tab10"](i) for i in (0, 1, 2, 4, 5, 6, 8, 9)]
    return [palette[k % len(palette)] for k in range(count)]


def case_colours(agreement: Agreement) -> list[Colour]:
    """One colour per case of an ``Agreement``."""
    return [PERFECT, *colours(len(agreement.normal)), CRITICAL]


def show(axes: "Axes", image: np.ndarray) -> None:
    """Draws an image ``(h, w, c)`` in [0, 255]."""
    image = np.clip(np.asarray(image), 0, 255).astype("uint8")
    axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)


def show_grey(axes: "Axes", image: np.ndarray) -> None:
    """Draws it in grey and pale, for colours on top to stand out."""
    show(axes, 128 + np.asarray(image).mean(-1, keepdims=True) / 2)


def extent(image: np.ndarray) -> tuple[float, float, float, float]:
    """The extent at which a map of lower resolution covers the image."""
    return (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)


def share_wrong(mask: np.ndarray, predicted_labels: np.ndarray) -> float:
    """The share of labelled pixels that are wrong; NaN where none has a label."""
    counted = mask != IGNORE
    return float((mask != predicted_labels)[counted].mean()) if counted.any() else np.nan
