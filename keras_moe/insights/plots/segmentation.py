"""Pictures of single images and their pixels. Each function returns a matplotlib figure whose title is the finding."""

import collections.abc
import typing

import numpy as np

from keras_moe.insights.measures.agreement import Agreement
from keras_moe.insights.plots import style
from keras_moe.metrics import IGNORE

if typing.TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_gate_maps(image: np.ndarray, weights: np.ndarray) -> "Figure":
    """One image under the weight of each expert, pixel by pixel.

    Args:
        image: ``(h, w, c)`` in [0, 255].
        weights: float ``(h', w', experts)``, of any resolution.

    Returns:
        A matplotlib figure.

    Example:
        >>> weights = np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.2, 0.8], [0.7, 0.3]]])
        >>> insights.plot_gate_maps(np.zeros((8, 8, 1)), weights).get_suptitle()
        'Expert 0 has the largest weight in 75.0% of the pixels'
    """
    weights = np.asarray(weights)
    count = weights.shape[-1]
    leads = np.bincount(weights.argmax(-1).reshape(-1), minlength=count) / weights[..., 0].size
    figure, grid = _grid(image, count + 1, 0.25)
    for k, axes in enumerate(grid[: count + 1], start=-1):
        if k < 0:
            style.show(axes, image)
            axes.set_title("image", fontsize=9)
            continue
        style.show_grey(axes, image)
        weight = axes.imshow(weights[..., k], cmap="viridis", vmin=0, vmax=1, alpha=0.65, extent=style.extent(image))
        axes.set_title(f"expert {k}: mean weight {weights[..., k].mean():.2f}", fontsize=9)
    figure.colorbar(weight, ax=grid.tolist(), label="weight", pad=0.01)
    figure.suptitle(f"Expert {leads.argmax()} has the largest weight in {leads.max():.1%} of the pixels")
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
        'All experts agree in 50.0% of the pixels; no expert gives the answer in 0.0%'
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
        f"All experts agree in {shares['perfect']:.1%} of the pixels; no expert gives the answer in "
        f"{shares['critical']:.1%}"
    )
    return figure


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
    labels = {"answer": predicted_labels} if masks is None else {"label": masks, "answer": predicted_labels}
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
            line[-1].set_xlabel(f"{_share_wrong(masks[i], predicted_labels[i]):.1%} wrong", fontsize=8, labelpad=2)
        line[0].set_ylabel("" if captions is None else captions[i], fontsize=9)
        for axes in line:
            axes.set(xticks=(), yticks=())
            axes.spines[:].set_visible(False)
    for axes, title in zip(grid[0], ("image", *labels, "wrong"), strict=False):
        axes.set_title(title, fontsize=9)
    classes = np.unique(np.concatenate([values[values != IGNORE] for values in labels.values()]))
    handles = [Patch(color=colours[c], label=style.plain(names[c])) for c in classes]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 8), frameon=False, fontsize=9)
    figure.suptitle("What the model answers")
    if masks is not None:
        shares = [f"{1 - _share_wrong(m, p):.1%}" for m, p in zip(masks, predicted_labels, strict=True)]
        figure.suptitle(f"Right are {', '.join(shares)} of the pixels")
    return figure


def plot_routing_weights(weights: np.ndarray, groups: np.ndarray | None = None) -> "Figure":
    """How the mean weight of each expert spreads over images: a histogram per expert, stacked by group.

    Args:
        weights: float ``(n, experts)``.
        groups: str ``(n,)``, or None.

    Returns:
        A matplotlib figure.

    Example:
        >>> insights.plot_routing_weights(np.array([[0.9, 0.1], [0.6, 0.4]])).get_suptitle()
        'Expert 0 has the largest mean weight in 100.0% of the images'
    """
    count = weights.shape[1]
    names = [] if groups is None else sorted(set(groups))
    parts = [weights[groups == name] for name in names] or [weights]
    figure = style.figure(8, 0.95 * count + 1.2)
    grid = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    shades = ["#08519c", "#fd8d3c", "#74c476", "#9e9ac8", "#636363"]
    for k, axes in enumerate(grid):
        axes.hist(
            [part[:, k] for part in parts], bins=np.linspace(0, weights.max(), 41), stacked=True,
            color=[shades[i % len(shades)] for i in range(len(parts))], label=names or None,
        )  # fmt: skip
        axes.set_ylabel(f"expert {k}", rotation=0, ha="right", va="center")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set_yticks(())
    grid[-1].set_xlabel("mean weight of the expert in an image; the height counts images")
    if names:
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    leads = np.bincount(weights.argmax(1), minlength=count) / len(weights)
    figure.suptitle(f"Expert {leads.argmax()} has the largest mean weight in {leads.max():.1%} of the images")
    return figure


def plot_uncertainty_maps(
    image: np.ndarray,
    measures: dict[str, np.ndarray],
    predicted_labels: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> "Figure":
    """One image, where the prediction is wrong, and how unsure it is by each measure.

    Args:
        image: ``(h, w, c)`` in [0, 255].
        measures: dict, name -> float ``(h, w)`` in [0, 1].
        predicted_labels, mask: int ``(h, w)``, the latter 255 where there is no label; or None.

    Returns:
        A matplotlib figure.

    Example:
        >>> entropy = np.array([[0.0, 0.2], [0.8, 1.0]])
        >>> insights.plot_uncertainty_maps(np.zeros((2, 2, 3)), {"entropy": entropy}).get_suptitle()
        'Entropy is 0.50 on average'
    """
    labelled = np.zeros(image.shape[:2], bool) if mask is None else mask != IGNORE
    wrong, right = labelled & (mask != predicted_labels), labelled & (mask == predicted_labels)
    maps = measures if mask is None else {"wrong": wrong, **measures}
    figure, grid = _grid(image, len(maps) + 1, 0.4)
    style.show(grid[0], image)
    grid[0].set_title("image", fontsize=9)
    findings = {"wrong": ""}
    if mask is not None and predicted_labels is not None:
        findings["wrong"] = f"{_share_wrong(mask, predicted_labels):.1%} of the pixels"
    for name, values in measures.items():
        findings[name] = f"{values.mean():.2f} on average"
        if wrong.any() and right.any():
            findings[name] = f"{values[wrong].mean():.2f} where wrong, {values[right].mean():.2f} where right"
    for axes, (name, values) in zip(grid[1:], maps.items(), strict=False):
        shown = axes.imshow(values, cmap="magma", vmin=0, vmax=1)
        axes.set_title(f"{name}\n{findings[name]}", fontsize=9)
    figure.colorbar(shown, ax=grid.tolist(), label="0 sure, 1 unsure", pad=0.01)
    name = next(iter(measures))
    figure.suptitle(f"{name.capitalize()} is {findings[name]}")
    return figure


def _grid(image: np.ndarray, panels: int, titles: float) -> "tuple[Figure, np.ndarray]":
    """``(figure, axes)``: room for ``panels`` pictures of the image's shape, titles of some inches above each."""
    lines = -(-panels // 5)
    columns = -(-panels // lines)
    height = 2.8 * image.shape[0] / image.shape[1] + titles
    figure = style.figure(2.8 * columns + 0.8, height * lines + 0.4)
    grid = figure.subplots(lines, columns, squeeze=False).reshape(-1)
    for axes in grid:
        axes.axis("off")
    return figure, grid


def _share_wrong(mask: np.ndarray, predicted_labels: np.ndarray) -> float:
    counted = mask != IGNORE
    return float((mask != predicted_labels)[counted].mean()) if counted.any() else np.nan


def _painted(labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Labels ``(h, w)`` as colours, half transparent; without a label nothing."""
    known = labels < len(colours)
    painted: np.ndarray = colours[np.where(known, labels, 0)]
    painted[..., 3] = 0.75 * known
    return painted


def _class_colours(count: int) -> np.ndarray:
    from matplotlib import colormaps

    # The strong colours first, then their pale twins.
    return np.array([colormaps["tab20"]((2 * c + c // 10 % 2) % 20) for c in range(count)])
