"""One picture of a routed classification: the image, its labels, the experts that ran, the work that was saved."""

import collections.abc
import typing

import numpy as np

from keras_moe.classify import Classification

if typing.TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image


def plot_classifications(
    images: "collections.abc.Sequence[Image | np.ndarray]",
    results: collections.abc.Sequence[Classification],
    experts: int,
) -> "Figure":
    """Draws a row per image: the image, the top labels, the experts' weights, MACs executed of all.

    Args:
        images: list of Pillow images or uint8 arrays.
        results: list of ``Classification``, one per image.
        experts: int, how many experts the network has.

    Returns:
        A matplotlib figure.

    Example:
        >>> result = keras_moe.classify.Classification((("cat", 0.9), ("dog", 0.1)), {1: 1.0}, 1e6, 4e6)
        >>> figure = picture.plot_classifications([np.zeros((8, 8, 3), "uint8")], [result], experts=2)
        >>> [axes.get_title() for axes in figure.axes[1:]]
        ['Prediction', '1 of 2 experts ran', 'MACs: 25% of the network']
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.2 * len(images)), layout="constrained")
    rows = figure.subplots(len(images), 4, squeeze=False, width_ratios=(1.1, 1.4, 1.4, 1))
    for axes, image, result in zip(rows, images, results, strict=True):
        axes[0].imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255)  # colour images ignore these
        axes[0].axis("off")
        _labels(axes[1], result)
        _experts(axes[2], result, experts)
        _work(axes[3], result)
    return figure


def _labels(axes: "Axes", result: Classification) -> None:
    labels, scores = zip(*result.top, strict=True)
    bars = axes.barh(labels, scores, color="tab:blue")
    axes.bar_label(bars, [f"{s:.0%}" for s in scores], padding=3)
    axes.invert_yaxis()
    axes.set(title="Prediction", xlim=(0, 1.25 * max(scores)), xticks=())
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _experts(axes: "Axes", result: Classification, experts: int) -> None:
    route = result.route or {}
    weights = [route.get(k, 0.0) for k in range(experts)]
    bars = axes.bar(range(experts), weights, color="tab:orange")
    axes.bar_label(bars, [f"{w:.2f}" if w else "off" for w in weights], padding=2)
    ran = sum(w != 0 for w in weights)
    axes.set(title=f"{ran} of {experts} experts ran", ylim=(0, 1.15), yticks=(), xticks=range(experts), xlabel="expert")
    axes.spines[["top", "right", "left"]].set_visible(False)


def _work(axes: "Axes", result: Classification) -> None:
    work = [result.macs_executed / 1e6, result.macs_total / 1e6]
    bars = axes.bar(["executed", "whole\nnetwork"], work, color=["tab:green", "lightgrey"])
    axes.bar_label(bars, [f"{w:.1f} M" for w in work], padding=2)
    axes.set(title=f"MACs: {work[0] / work[1]:.0%} of the network", ylim=(0, 1.15 * work[1]), yticks=())
    axes.spines[["top", "right", "left"]].set_visible(False)
