"""Figures of routing. Each function returns a matplotlib figure whose title is the finding."""

import collections.abc
import typing

import numpy as np

from keras_moe.checks import integer
from keras_moe.insights.measures.routing import Usage, favourites
from keras_moe.insights.plots import style

if typing.TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_usage(usage: Usage) -> "Figure":
    """Bars: the share of images that each expert runs for.

    Args:
        usage: a ``Usage``.

    Returns:
        A matplotlib figure.

    Example:
        >>> figure = insights.plot_usage(insights.expert_usage([[1.0, 0.0], [0.5, 0.5]]))
        >>> figure.axes[0].get_title()
        'Expert 0 runs for 100.0% of the images, expert 1 for 50.0%'
    """
    figure, axes = style.axes(8, 3.2)
    most, least = usage.ran.argmax(), usage.ran.argmin()
    shares, names = [*usage.ran], [f"expert {k}" for k in range(len(usage.ran))]
    colours = style.colours(len(shares))
    if usage.none:
        shares, names, colours = [*shares, usage.none], [*names, "no expert"], [*colours, style.PERFECT]
    bars = axes.bar(names, shares, color=colours)
    axes.bar_label(bars, [f"{s:.1%}" for s in shares], padding=2)
    axes.set(ylim=(0, 1.12 * max(shares)), yticks=(), ylabel="share of images")
    axes.set_title(
        f"Expert {most} runs for {usage.ran[most]:.1%} of the images"
        + (f", expert {least} for {usage.ran[least]:.1%}" if most != least else "")
        + (f"; no expert runs for {usage.none:.1%}" if usage.none else "")
    )
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def plot_class_by_expert(table: np.ndarray, names: collections.abc.Sequence[str]) -> "Figure":
    """A heat map: which experts do the work of which class, classes grouped by their main expert.

    Args:
        table: float ``(classes, experts)``, from ``class_by_expert``; classes without rows are left out.
        names: list of str, of the classes.

    Returns:
        A matplotlib figure.

    Example:
        >>> figure = insights.plot_class_by_expert(np.array([[0.9, 0.1], [0.3, 0.7]]), ["cat", "dog"])
        >>> figure.get_suptitle()
        'Expert 0 has the largest weight for 1 of 2 classes'
    """
    has_rows = ~np.isnan(table).any(1)
    table, labels = table[has_rows], np.array([style.plain(name) for name in names])[has_rows]
    order = np.lexsort((-table.max(1), table.argmax(1)))
    table, labels = table[order], labels[order]
    columns = 1 if len(labels) <= 50 else 2
    rows = -(-len(labels) // columns)
    figure = style.figure(9.5, 1.3 + 0.17 * rows) if columns > 1 else style.figure(6.5, 1.3 + max(0.24 * rows, 1.2))
    for i, axes in enumerate(figure.subplots(1, columns, squeeze=False)[0]):
        part = table[i * rows : (i + 1) * rows]
        image = axes.imshow(part, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        axes.set_yticks(range(len(part)), labels[i * rows : (i + 1) * rows], fontsize=8)
        axes.set_xticks(range(table.shape[1]))
        axes.set_xlabel("expert")
        axes.tick_params(length=0)
        for edge in np.flatnonzero(np.diff(part.argmax(1))):
            axes.axhline(edge + 0.5, color="grey", linewidth=0.6)
        for (row, k), weight in np.ndenumerate(part if table.size <= 60 else part[:0]):
            axes.text(k, row, f"{weight:.2f}", color="white" if weight > 0.6 else "black", ha="center", va="center")
    figure.colorbar(image, ax=figure.axes, label="mean weight of the expert")
    owned = int((table.max(1) > table.sum(1) / 2).sum())
    first = np.bincount(table.argmax(1)).argmax()
    title = f"Expert {first} has the largest weight for {(table.argmax(1) == first).sum()} of {len(labels)} classes"
    figure.suptitle(title + (f";\n{owned} give one expert more than half" if table.shape[1] > 2 else ""))
    return figure


def plot_favourites(
    images: np.ndarray,
    routing_weights: np.ndarray,
    count: int = 8,
    captions: collections.abc.Sequence[str] | np.ndarray | None = None,
    kinds: str = "classes",
) -> "Figure":
    """A row per expert: the images that it has the largest weight for.

    Args:
        images: ``(n, h, w, c)`` in [0, 255].
        routing_weights: float ``(n, experts)``, see ``favourites``.
        count: int, images per expert.
        captions: list of n labels, or None.
        kinds: str, what the captions are, for the title.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: a ``count`` that is no int >= 1, or routing weights that ``favourites`` refuses.

    Example:
        >>> images, routing_weights = np.zeros((3, 8, 8, 1)), np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
        >>> insights.plot_favourites(images, routing_weights, count=2).get_suptitle()
        "The 2 images on which each expert's weight is largest, and the weight"
    """
    count = integer("plot_favourites", "count", count, 1)
    rows_of_expert = favourites(routing_weights, count)
    figure = style.figure(1.15 * count + 1, 1.4 * len(rows_of_expert) + 0.5)
    grid = figure.subplots(len(rows_of_expert), count, squeeze=False)
    for k, (line, rows) in enumerate(zip(grid, rows_of_expert, strict=True)):
        for axes in line:
            axes.set(xticks=(), yticks=())
            axes.spines[:].set_visible(False)
        for axes, row in zip(line, rows, strict=False):
            style.show(axes, images[row])
            caption = f"{style.plain(captions[row])}\n" if captions is not None else ""
            axes.set_xlabel(f"{caption}{routing_weights[row][k]:.2f}", fontsize=7, labelpad=2)
        name = f"expert {k}" if len(rows) else f"expert {k}\nnever ran"
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    title = f"The {count} images on which each expert's weight is largest, and the weight"
    if captions is not None:
        distinct = np.mean([len({captions[row] for row in rows}) for rows in rows_of_expert if len(rows)])
        title = f"An expert's {count} favourites show {distinct:.1f} of {len(set(captions))} {kinds} on average"
    figure.suptitle(title)
    return figure


def plot_routing_weights(routing_weights: np.ndarray, groups: np.ndarray | None = None) -> "Figure":
    """How the mean weight of each expert spreads over images: a histogram per expert, stacked by group.

    Args:
        routing_weights: float ``(n, experts)``.
        groups: str ``(n,)``, or None.

    Returns:
        A matplotlib figure.

    Example:
        >>> insights.plot_routing_weights(np.array([[0.9, 0.1], [0.6, 0.4]])).get_suptitle()
        'Expert 0 has the largest mean weight in 100.0% of the images'
    """
    count = routing_weights.shape[1]
    names = [] if groups is None else sorted(set(groups))
    parts = [routing_weights[groups == name] for name in names] or [routing_weights]
    figure = style.figure(8, 0.95 * count + 1.2)
    grid = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    shades = ["#08519c", "#fd8d3c", "#74c476", "#9e9ac8", "#636363"]
    for k, axes in enumerate(grid):
        axes.hist(
            [part[:, k] for part in parts], bins=np.linspace(0, routing_weights.max(), 41), stacked=True,
            color=[shades[i % len(shades)] for i in range(len(parts))], label=names or None,
        )  # fmt: skip
        axes.set_ylabel(f"expert {k}", rotation=0, ha="right", va="center")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set_yticks(())
    grid[-1].set_xlabel("mean weight of the expert in an image; the height counts images")
    if names:
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    leads = np.bincount(routing_weights.argmax(1), minlength=count) / len(routing_weights)
    figure.suptitle(f"Expert {leads.argmax()} has the largest mean weight in {leads.max():.1%} of the images")
    return figure


def plot_gate_maps(image: np.ndarray, routing_weights: np.ndarray) -> "Figure":
    """One image under the weight of each expert, pixel by pixel.

    Args:
        image: ``(h, w, c)`` in [0, 255].
        routing_weights: float ``(h', w', experts)``, of any resolution.

    Returns:
        A matplotlib figure.

    Example:
        >>> routing_weights = np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.2, 0.8], [0.7, 0.3]]])
        >>> insights.plot_gate_maps(np.zeros((8, 8, 1)), routing_weights).get_suptitle()
        'Expert 0 has the largest weight in 75.0% of the pixels'
    """
    routing_weights = np.asarray(routing_weights)
    count = routing_weights.shape[-1]
    leads = np.bincount(routing_weights.argmax(-1).reshape(-1), minlength=count) / routing_weights[..., 0].size
    figure, grid = style.grid(image, count + 1, 0.25)
    for k, axes in enumerate(grid[: count + 1], start=-1):
        if k < 0:
            style.show(axes, image)
            axes.set_title("image", fontsize=9)
            continue
        style.show_grey(axes, image)
        weight = axes.imshow(
            routing_weights[..., k], cmap="viridis", vmin=0, vmax=1, alpha=0.65, extent=style.extent(image)
        )
        axes.set_title(f"expert {k}: mean weight {routing_weights[..., k].mean():.2f}", fontsize=9)
    figure.colorbar(weight, ax=grid.tolist(), label="weight", pad=0.01)
    figure.suptitle(f"Expert {leads.argmax()} has the largest weight in {leads.max():.1%} of the pixels")
    return figure
