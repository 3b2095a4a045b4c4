"""Figures of uncertainty. Each function returns a matplotlib figure whose title is the finding."""

import typing

import numpy as np

from keras_moe.checks import number
from keras_moe.insights.measures.uncertainty import Reliability, RiskCoverage
from keras_moe.insights.plots import style
from keras_moe.metrics import IGNORE

if typing.TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    below.set(xlabel="confidence, the probability of the predicted label", ylabel="share")
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
        Without its 25% least sure predictions it errs on 0.0% instead of 25.0%
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
    axes.set(xlabel=f"share of {unit} kept, the surest first", ylabel="error among them", xlim=(0, 1))
    axes.set_ylim(0, 1.02 * max(curve.risk[len(curve.risk) // 50 :].max() for curve in curves.values()) + 1e-3)
    axes.set_title(
        f"Without its {1 - coverage:.0%} least sure predictions it errs on {best.at(coverage):.1%} instead of "
        f"{error:.1%}\n"
        f"(by {name}{', the best of these measures' if len(curves) > 1 else ''})",
        fontsize=11,
    )
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
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
    figure, grid = style.grid(image, len(maps) + 1, 0.4)
    style.show(grid[0], image)
    grid[0].set_title("image", fontsize=9)
    findings = {"wrong": ""}
    if mask is not None and predicted_labels is not None:
        findings["wrong"] = f"{style.share_wrong(mask, predicted_labels):.1%} of the pixels"
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
