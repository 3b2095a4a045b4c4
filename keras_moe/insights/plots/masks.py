"""Figures of predicted masks. Each function returns a matplotlib figure whose title is the finding."""

import collections.abc
import typing

import numpy as np

from keras_moe.insights.plots import style
from keras_moe.metrics import IGNORE

if typing.TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_predicted_masks(
    images: np.ndarray,
    predicted_labels: np.ndarray,
    names: collections.abc.Sequence[str],
    masks: np.ndarray | None = None,
    captions: collections.abc.Sequence[str] | None = None,
) -> "Figure":
    """A row per image: the image, its mask where known, the predicted one, and where that is wrong.

    Args:
        images: ``(n, h, w, c)`` in [0, 255].
        predicted_labels: int ``(n, h, w)``.
        names: list of str, of the classes.
        masks: int ``(n, h, w)``, 255 where there is no label; or None.
        captions: list of n str to the left of the rows, or None.

    Returns:
        A matplotlib figure.

    Example:
        >>> predicted, masks = np.array([[[0, 1], [1, 1]]]), np.array([[[0, 1], [1, 0]]])
        >>> insights.plot_predicted_masks(np.zeros((1, 2, 2, 3)), predicted, ["road", "sky"], masks).get_suptitle()
        'Right are 75.0% of the pixels'
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    colours = _class_colours(len(names))
    labels = {"prediction": predicted_labels} if masks is None else {"label": masks, "prediction": predicted_labels}
    columns = len(labels) + 1 + (masks is not None)
    figure = style.figure(2.9 * columns + 0.5, (2.9 * images.shape[1] / images.shape[2] + 0.15) * len(images) + 0.9)
    grid = figure.subplots(len(images), columns, squeeze=False)
    for i, line in enumerate(grid):
        style.show(line[0], images[i])
        for axes, values in zip(line[1:], labels.values(), strict=False):
            style.show_grey(axes, images[i])
            axes.imshow(_painted(values[i], colours), interpolation="nearest")
        if masks is not None:
            style.show_grey(line[-1], images[i])
            wrong = np.ma.masked_equal((masks[i] != IGNORE) & (masks[i] != predicted_labels[i]), 0)
            line[-1].imshow(wrong, cmap=ListedColormap([style.CRITICAL]), interpolation="nearest")
            line[-1].set_xlabel(f"{style.share_wrong(masks[i], predicted_labels[i]):.1%} wrong", fontsize=8, labelpad=2)
        line[0].set_ylabel("" if captions is None else captions[i], fontsize=9)
        for axes in line:
            axes.set(xticks=(), yticks=())
            axes.spines[:].set_visible(False)
    for axes, title in zip(grid[0], ("image", *labels, "wrong"), strict=False):
        axes.set_title(title, fontsize=9)
    classes = np.unique(np.concatenate([values[values != IGNORE] for values in labels.values()]))
    handles = [Patch(color=colours[c], label=style.plain(names[c])) for c in classes]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 8), frameon=False, fontsize=9)
    figure.suptitle("What the model predicts")
    if masks is not None:
        shares = [f"{1 - style.share_wrong(m, p):.1%}" for m, p in zip(masks, predicted_labels, strict=True)]
        figure.suptitle(f"Right are {', '.join(shares)} of the pixels")
    return figure


def _painted(labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Labels ``(h, w)`` as colours, half transparent; without a label nothing."""
    labelled = labels < len(colours)
    painted: np.ndarray = colours[np.where(labelled, labels, 0)]
    painted[..., 3] = 0.75 * labelled
    return painted


def _class_colours(count: int) -> np.ndarray:
    from matplotlib import colormaps

    # The strong colours first, then their pale ones.
    return np.array([colormaps["tab20"]((2 * c + c // 10 % 2) % 20) for c in range(count)])
