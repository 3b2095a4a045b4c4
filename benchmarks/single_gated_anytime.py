"""The any-time curve of single_gated_cifar100 beside dense networks of the same recipe: ``anytime.md`` and its plot.

    python -m benchmarks.single_gated_anytime

Reads ``anytime.json``, which ``benchmarks/single_gated_report.py`` measures, and the cards of the dense networks.
"""

import json
import typing

import numpy as np

from benchmarks import without_options
from keras_moe.files import write_bytes
from keras_moe.zoo import card
from keras_moe.zoo.store import published_folder

FOLDER = published_folder() / "single_gated_cifar100"
DENSE = ("resnet14_cifar100", "resnet20_cifar100", "resnet26_cifar100")


class Point(typing.NamedTuple):
    """A row of ``anytime.json``."""

    threshold: float
    accuracy: float
    macs: float
    exits: float


def main():
    without_options(__doc__)
    measured = json.loads((FOLDER / "anytime.json").read_text())
    curves = {name: [Point(**point) for point in points] for name, points in measured.items()}
    points = {name: (card(name).macs_executed, card(name).metrics[0]) for name in DENSE}
    _plot(curves, points).savefig(FOLDER / "anytime.png", dpi=110)
    mixtures = [curve for name, curve in curves.items() if name.startswith("4 experts")]
    with_mean = {**curves, "4 experts, mean of the seeds": _mean(mixtures)}
    sections = [_compared(curves, points), _as_good_as(curves, points), _above_the_line(with_mean)]
    text = "# single_gated_cifar100: accuracy against MACs\n\nWritten by `benchmarks/single_gated_anytime.py`.\n\n"
    write_bytes(FOLDER / "anytime.md", (text + "\n\n".join(sections) + "\n").encode())
    print((FOLDER / "anytime.md").read_text())


def _mean(curves):
    """Threshold by threshold."""
    return [Point(*np.mean(at, axis=0).tolist()) for at in zip(*curves, strict=True)]


def _compared(curves, points):
    rows = ["## On the test set", "", "| network | MACs | accuracy |", "|---|---|---|"]
    rows += [
        f"| {name} ({_seeds(accuracy)}) | {macs / 1e6:.2f} M | {accuracy.value:.2%} |"
        for name, (macs, accuracy) in points.items()
    ]
    for name, curve in curves.items():
        best, full = max(curve, key=lambda p: (p.accuracy, -p.macs)), curve[-1]
        rows.append(f"| {name}, nobody leaves early | {full.macs / 1e6:.2f} M | {full.accuracy:.2%} |")
        rows.append(
            f"| {name}, its best threshold, {best.threshold:.2f} | {best.macs / 1e6:.2f} M | {best.accuracy:.2%} |"
        )
        rows.append(f"| its base | {curve[0].macs / 1e6:.2f} M | {curve[0].accuracy:.2%} |")
    note = "The best threshold is picked on the test set itself; `anytime.json` has the whole curve."
    return "\n".join([*rows, "", note, "", "![accuracy against MACs](anytime.png)"])


def _as_good_as(curves, points):
    """The cheapest point of each curve that reaches a dense network's accuracy."""
    rows = ["## MACs for the accuracy of a dense network", "", f"| | {' | '.join(points)} |"]
    rows.append("|---" * (len(points) + 1) + "|")
    for name, curve in curves.items():
        cells = []
        for macs, accuracy in points.values():
            reach = [point.macs for point in curve if point.accuracy >= accuracy.value]
            cells.append(f"{min(reach) / 1e6:.2f} M, {min(reach) / macs:.2f} of its" if reach else "not reached")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _above_the_line(curves):
    rows = ["## Early exit against the straight line from base to full mixture", ""]
    for name, curve in curves.items():
        base, full = curve[0], curve[-1]
        gains = [
            p.accuracy
            - base.accuracy
            - (full.accuracy - base.accuracy) * (p.macs - base.macs) / (full.macs - base.macs)
            for p in curve
            if 0.01 < p.exits < 0.99
        ]
        rows.append(
            f"- {name}: {sum(g > 0 for g in gains)} of {len(gains)} thresholds lie above it, by {np.mean(gains):.2%} "
            f"on average, at worst {min(gains):+.2%}, at best {max(gains):+.2%}."
        )
    return "\n".join(rows)


def _seeds(metric):
    return "one seed" if len(metric.seeds) == 1 else f"mean of {len(metric.seeds)} seeds"


def _plot(curves, points):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.2), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot([p.macs / 1e6 for p in curve], [100 * p.accuracy for p in curve], ".-", label=name)
    for name, (macs, accuracy) in points.items():
        at = (macs / 1e6, 100 * accuracy.value)
        axes.plot(*at, "D", color="black")
        axes.annotate(name.removesuffix("_cifar100"), at, (-8, -4), textcoords="offset points", ha="right")
    axes.margins(x=0.2)
    axes.set(xlabel="MACs per image, millions", ylabel="accuracy on the test set, %")
    axes.set_title("Single-gated MoE on CIFAR-100: one threshold from the base alone to an expert for everyone")
    axes.title.set_fontsize(10)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


if __name__ == "__main__":
    main()
