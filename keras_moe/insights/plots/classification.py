"""Pictures of what the other modules compute. Each function returns a matplotlib figure whose title is the finding."""

import collections.abc
import typing

import numpy as np

from keras_moe.checks import integer, number
from keras_moe.insights.measures.agreement import Agreement
from keras_moe.insights.measures.routing import Usage, favourites
from keras_moe.insights.measures.uncertainty import Reliability, RiskCoverage
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
    weights: np.ndarray,
    count: int = 8,
    captions: collections.abc.Sequence[str] | np.ndarray | None = None,
    kinds: str = "classes",
) -> "Figure":
    """A row per expert: the images that it has the largest weight for.

    Args:
        images: ``(n, h, w, c)`` in [0, 255].
        weights: float ``(n, experts)``, see ``favourites``.
        count: int, images per expert.
        captions: list of n labels, or None.
        kinds: str, what the captions are, for the title.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: a ``count`` that is no int >= 1, or weights that ``favourites`` refuses.

    Example:
        >>> images, weights = np.zeros((3, 8, 8, 1)), np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
        >>> insights.plot_favourites(images, weights, count=2).get_suptitle()
        "The 2 images on which each expert's weight is largest, and the weight"
    """
    count = integer("plot_favourites", "count", count, 1)
    rows_of_expert = favourites(weights, count)
    figure = style.figure(1.15 * count + 1, 1.4 * len(rows_of_expert) + 0.5)
    grid = figure.subplots(len(rows_of_expert), count, squeeze=False)
    for k, (line, rows) in enumerate(zip(grid, rows_of_expert, strict=True)):
        for axes in line:
            axes.set(xticks=(), yticks=())
            axes.spines[:].set_visible(False)
        for axes, row in zip(line, rows, strict=False):
            style.show(axes, images[row])
            caption = f"{style.plain(captions[row])}\n" if captions is not None else ""
            axes.set_xlabel(f"{caption}{weights[row][k]:.2f}", fontsize=7, labelpad=2)
        name = f"expert {k}" if len(rows) else f"expert {k}\nnever ran"
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    title = f"The {count} images on which each expert's weight is largest, and the weight"
    if captions is not None:
        distinct = np.mean([len({captions[row] for row in rows}) for rows in rows_of_expert if len(rows)])
        title = f"An expert's {count} favourites show {distinct:.1f} of {len(set(captions))} {kinds} on average"
    figure.suptitle(title)
    return figure


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
        'All experts agree on 50.0% of the images; no expert gives the answer on 0.0%'
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
        f"All experts agree on {shares[0]:.1%} of the {unit}; no expert gives the answer on {shares[-1]:.1%}"
    )
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def plot_reliability(reliability: Reliability) -> "Figure":
    """Confidence against accuracy, and how many predictions there are of each confidence.

    Args:
        reliability: a ``Reliability``.

    Returns:
        A matplotlib figure.

    Example:
        >>> reliability = insights.reliability([[0.75, 0.25], [0.75, 0.25]], [0, 1])
        >>> insights.plot_reliability(reliability).axes[0].get_title()
        'Confidence and accuracy are 25.0 points apart on average (ECE, 15 bins)'
    """
    count, gap = reliability.count, 100 * reliability.ece
    figure = style.figure(6, 5.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    edges = np.linspace(0, 1, len(count) + 1)
    above.bar(edges[:-1], reliability.accuracy, 1 / len(count), align="edge", color="#9ecae1", edgecolor="white")
    above.plot((0, 1), (0, 1), ":", color="grey", label="as often right as it says")
    above.plot(reliability.confidence, reliability.accuracy, "o-", color="#08519c", label="this model")
    above.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    above.legend(loc="upper left", frameon=False)
    below.bar(edges[:-1], count / count.sum(), 1 / len(count), align="edge", color="lightgrey", edgecolor="white")
    below.set(xlabel="confidence, the probability of the answer", ylabel="share")
    above.set_title(
        f"Confidence and accuracy are {gap:.1f} points apart on average (ECE, {len(count)} bins)", fontsize=11
    )
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def plot_risk_coverage(curves: dict[str, RiskCoverage], coverage: float = 0.8, unit: str = "images") -> "Figure":
    """The error among the surest predictions, for several measures of uncertainty.

    Args:
        curves: dict, name of the measure -> its ``RiskCoverage``.
        coverage: float in (0, 1], the share of predictions that the title speaks of.
        unit: str, what the rows are: ``"images"`` or ``"pixels"``.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: a ``coverage`` out of range.

    Example:
        >>> curve = insights.risk_coverage([0.1, 0.2, 0.3, 0.4], np.array([False, False, False, True]))
        >>> print(insights.plot_risk_coverage({"entropy": curve}, coverage=0.75).axes[0].get_title())
        Without its 25% least sure answers it errs on 0.0% instead of 25.0%
        (by entropy)
    """
    coverage = number("plot_risk_coverage", "coverage", coverage, above=0, most=1)
    figure, axes = style.axes(7, 4.6)
    name, best = min(curves.items(), key=lambda item: item[1].area)
    error = best.risk[-1]
    points = np.unique(np.linspace(0, len(best.risk) - 1, 1000).astype(int))
    for label, curve in curves.items():
        axes.plot(curve.coverage[points], curve.risk[points], label=f"{label}, area {curve.area:.3f}")
    axes.axhline(error, color="grey", linestyle=":", label=f"random order, area {error:.3f}")
    ideal = np.maximum(best.coverage - (1 - error), 0) / best.coverage
    axes.plot(
        best.coverage[points], ideal[points], "--", color="grey", label=f"wrong ones last, area {ideal.mean():.3f}"
    )
    axes.set(xlabel=f"share of {unit} answered, the surest first", ylabel="error among them", xlim=(0, 1))
    axes.set_ylim(0, 1.02 * max(curve.risk[len(curve.risk) // 50 :].max() for curve in curves.values()) + 1e-3)
    axes.set_title(
        f"Without its {1 - coverage:.0%} least sure answers it errs on {best.at(coverage):.1%} instead of {error:.1%}\n"
        f"(by {name}{', the best of these measures' if len(curves) > 1 else ''})",
        fontsize=11,
    )
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
