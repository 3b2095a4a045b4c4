"""What pictures share: figures, colours, and images on axes."""

import typing

import numpy as np

from keras_moe.insights.measures.agreement import Agreement

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


def plain(text: str, longest: int = 24) -> str:
    """``text`` cut to what fits, its dollars no mathematics."""
    return (text if len(text) <= longest else text[: longest - 1] + "…").replace("$", r"\$")


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
    """Where a map of lower resolution goes, for it to lie on the image."""
    return (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
