"""Figures of a classifier's confusions, and of accuracy against cost."""

import collections.abc
import typing

import numpy as np

from keras_moe.insights.plots import style

if typing.TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMED = 60  # classes at most whose names stand beside the matrix


def plot_confusion(confusion: np.ndarray, names: collections.abc.Sequence[str]) -> "Figure":
    """A heat map of a confusion matrix, each row the share of a class's images.

    Args:
        confusion: int ``(classes, classes)``, see ``metrics.confusion_matrix``.
        names: of the classes.

    Returns:
        A matplotlib figure.

    Example:
        >>> figure = insights.plot_confusion(np.array([[3, 1], [0, 4]]), ["cat", "dog"])
        >>> figure.axes[0].get_title()
        '7 of 8 images lie on the diagonal'
    """
    count, side = len(names), min(12.0, 3.5 + 0.2 * len(names))
    figure, axes = style.axes(side + 1, side)
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    if count <= _NAMED:
        labels = [style.plain(name) for name in names]
        axes.set_xticks(range(count), labels, fontsize=7, rotation=90, ha="right", va="center", rotation_mode="anchor")
        axes.set_yticks(range(count), labels, fontsize=7)
    axes.set(xlabel="it says", ylabel="label")
    axes.tick_params(length=0)
    axes.set_title(f"{np.trace(confusion):,} of {confusion.sum():,} images lie on the diagonal", fontsize=11)
    figure.colorbar(image, ax=axes, label="share of the images of the class", shrink=0.7)
    return figure


def plot_operating_curve(
    macs: collections.abc.Sequence[float],
    accuracy: collections.abc.Sequence[float],
    chosen: tuple[float, float],
    dense: tuple[float, float] | None = None,
) -> "Figure":
    """Accuracy against multiply-accumulates over the values of a model's knob.

    Args:
        macs, accuracy: of each operating point, per image and in [0, 1].
        chosen: ``(macs, accuracy)`` of the model as it is set.
        dense: that of a network without experts, or None.

    Returns:
        A matplotlib figure.

    Example:
        >>> figure = insights.plot_operating_curve([3e6, 2e6], [0.9, 0.85], chosen=(3e6, 0.9), dense=(4e6, 0.9))
        >>> figure.axes[0].get_title()
        'As it is set: 90.0% for 3.0 M MACs, 75% of the dense network (90.0%)'
    """
    figure, axes = style.axes(7, 4.2)
    order = np.argsort(macs)
    axes.plot(np.asarray(macs)[order] / 1e6, np.asarray(accuracy)[order], "o-", color="#08519c", label="its knob")
    axes.plot(chosen[0] / 1e6, chosen[1], "o", markersize=11, fillstyle="none", color="black", label="as it is set")
    title = f"As it is set: {chosen[1]:.1%} for {chosen[0] / 1e6:.1f} M MACs"
    if dense is not None:
        axes.plot(dense[0] / 1e6, dense[1], "s", color="grey", label="the dense network")
        title += f", {chosen[0] / dense[0]:.0%} of the dense network ({dense[1]:.1%})"
    axes.set(xlabel="million multiply-accumulates per image", ylabel="accuracy")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    axes.set_title(title, fontsize=11)
    return figure
