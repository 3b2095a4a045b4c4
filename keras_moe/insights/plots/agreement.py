"""Figures of the agreement of experts. Each function returns a matplotlib figure whose title is the finding."""

import typing

import numpy as np

from keras_moe.insights.measures.agreement import Agreement
from keras_moe.insights.plots import style

if typing.TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_agreement(agreement: Agreement, right: np.ndarray | None = None, unit: str = "images") -> "Figure":
    """Bars: the share of each case and, where known, how often the prediction is right in it.

    Args:
        agreement: an ``Agreement``.
        right: bool ``(...)``, whether the predicted label is right; or None.
        unit: str, what the rows are: ``"images"`` or ``"pixels"``.

    Returns:
        A matplotlib figure.

    Example:
        >>> cases = insights.agreement([[0, 1], [0, 2]], [0, 1])
        >>> insights.plot_agreement(cases).axes[0].get_title()
        "All experts agree on 50.0% of the images; no expert gives the model's prediction on 0.0%"
    """
    names, shares = list(agreement.shares), np.array(list(agreement.shares.values()))
    figure, axes = style.axes(8, 0.32 * len(names) + 1.3)
    bars = axes.barh(names, shares, color=style.case_colours(agreement))
    texts = [f"{share:.1%} of the {unit}" for share in shares]
    if right is not None:
        hit = [np.asarray(right)[agreement.case == i] for i in range(len(names))]
        texts = [f"{t}, {h.mean():.1%} of them right" if h.size else t for t, h in zip(texts, hit, strict=True)]
    axes.bar_label(bars, texts, padding=3)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.7 * shares.max()), xticks=())
    axes.set_title(
        f"All experts agree on {shares[0]:.1%} of the {unit}; no expert gives the model's prediction on "
        f"{shares[-1]:.1%}"
    )
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def plot_agreement_map(image: np.ndarray, agreement: Agreement) -> "Figure":
    """One image and its cases of agreement, pixel by pixel.

    Args:
        image: ``(h, w, c)`` in [0, 255].
        agreement: an ``Agreement`` of masks ``(h', w')``.

    Returns:
        A matplotlib figure.

    Example:
        >>> cases = insights.agreement([[[0, 1]], [[0, 2]]], [[0, 1]])  # a mask of 1 x 2 pixels
        >>> insights.plot_agreement_map(np.zeros((4, 8, 3)), cases).get_suptitle()
        "All experts agree in 50.0% of the pixels; no expert gives the model's prediction in 0.0%"
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    colours, shares = style.case_colours(agreement), agreement.shares
    figure = style.figure(9.5, 4.2 * image.shape[0] / image.shape[1] + 1.1)
    left, right = figure.subplots(1, 2)
    style.show(left, image)
    right.imshow(
        agreement.case, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(colours) - 0.5, extent=style.extent(image)
    )
    for axes in (left, right):
        axes.axis("off")
    names = [f"{name}, {share:.1%}" for name, share in shares.items()]
    handles = [Patch(color=c, label=name) for c, name in zip(colours, names, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5), frameon=False)
    figure.suptitle(
        f"All experts agree in {shares['perfect']:.1%} of the pixels; no expert gives the model's prediction in "
        f"{shares['critical']:.1%}"
    )
    return figure
