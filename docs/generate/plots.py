"""Plots of the zoo as SVG, of figures that the cards hold."""

import io
import re
import typing

import matplotlib

if typing.TYPE_CHECKING:
    from matplotlib.figure import Figure

    from keras_moe.zoo import Card

matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "keras_moe", "font.family": "sans-serif"})
EXECUTED, REST = "#3949ab", "#b0b7d6"


def comparable(cards: "list[Card]") -> "dict[str, list[Card]]":
    """Slug -> two or more models of the same data, scale and measure; those of the tests are left out."""
    groups: dict[str, list[Card]] = {}
    for card in cards:
        if card.metrics and not card.name.startswith("test_"):
            scale = card.config.get("scale", "")
            words = f"{card.data.name.split(',')[0]} {card.metrics[0].name} {scale and f'x{scale}'}"
            groups.setdefault(re.sub(r"\W+", "-", words).strip("-").lower(), []).append(card)
    return {slug: group for slug, group in groups.items() if len(group) > 1}


def title(cards: "list[Card]") -> str:
    """What a group is compared by, in words."""
    scale = cards[0].config.get("scale")
    return f"{cards[0].metrics[0].name} of {cards[0].data.name}{f', x{scale}' if scale else ''}"


def accuracy_against_macs(cards: "list[Card]") -> str:
    """The headline number over executed MACs, each model's whole cost as a line."""
    figure, axes = _axes(7, 0.55 * len(cards) + 2.2)
    factor = 1 if cards[0].metrics[0].unit else 100
    for card in cards:
        value, executed, total = card.metrics[0].value * factor, card.macs_executed / 1e6, card.macs_total / 1e6
        axes.plot([executed, total], [value, value], color=REST, linewidth=2, zorder=1)
        axes.plot(total, value, "|", color=REST, markersize=9)
        axes.plot(executed, value, "o", color=EXECUTED)
        axes.annotate(card.name, (executed, value), xytext=(0, 7), textcoords="offset points", fontsize=9)
    values = [card.metrics[0].value * factor for card in cards]
    middle, half = (max(values) + min(values)) / 2, 0.65 * (max(values) - min(values))
    axes.set_ylim(middle - max(half, 0.5), middle + max(half, 0.5))  # a hair's breadth looks like one
    axes.set(xlabel="million multiply-accumulates per input", ylabel=cards[0].metrics[0].unit or "%")
    axes.set_xlim(0, 1.12 * max(card.macs_total for card in cards) / 1e6)
    axes.set_title(title(cards), fontsize=11, loc="left")
    return _svg(figure)


def usage(shares: list[float]) -> str:
    """How often each expert ran, a bar each."""
    figure, axes = _axes(7, 0.28 * len(shares) + 0.9)
    axes.barh([f"expert {k}" for k in range(len(shares))], [100 * share for share in shares], color=EXECUTED)
    axes.set(xlabel="% of the test inputs", xlim=(0, 100))
    axes.invert_yaxis()
    return _svg(figure)


def _axes(width: float, height: float) -> "tuple[Figure, typing.Any]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: "Figure") -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
