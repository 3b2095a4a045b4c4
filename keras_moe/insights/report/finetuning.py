"""The report on a fine-tuned classifier: accuracy, confusions, routing, cost."""

import collections.abc
import dataclasses

import numpy as np

from keras_moe.insights.measures.routing import class_by_expert, expert_usage
from keras_moe.insights.plots.confusion import plot_confusion, plot_operating_curve
from keras_moe.insights.plots.routing import plot_class_by_expert, plot_usage
from keras_moe.insights.report.shared import Table, pairs, render
from keras_moe.metrics import confusion_matrix
from keras_moe.zoo import Card

_MISTAKES, _CONFUSED = 12, 10


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A classifier on n test images.

    Args:
        labels: int ``(n,)``.
        probabilities: float ``(n, classes)``.
        route: float ``(n, experts)``, or None without experts.
        macs: float, mean multiply-accumulates per image.
        interval: ``(low, high)``, the 95 % confidence interval of the accuracy.
        curve: ``(accuracy, macs)`` of each value of the knob that was tried, or none.
        dense: ``(accuracy, macs)`` of the dense network that it is compared with, or None.
        milliseconds: dict, form of a LiteRT file, ``"routed"`` or ``"dense"``, -> median time of an image; or empty.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    route: np.ndarray | None
    macs: float
    interval: tuple[float, float]
    curve: collections.abc.Sequence[tuple[float, float]] = ()
    dense: tuple[float, float] | None = None
    milliseconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def predicted(self) -> np.ndarray:
        """int ``(n,)``, the most probable class."""
        predicted: np.ndarray = self.probabilities.argmax(-1)
        return predicted

    @property
    def accuracy(self) -> float:
        """The share of images that are right."""
        return float(np.mean(self.predicted == self.labels))


def create_finetuning_report(
    card: Card,
    outcome: Outcome,
    image: collections.abc.Callable[[int], np.ndarray],
    name: collections.abc.Callable[[int], str],
    data: collections.abc.Sequence[str],
) -> str:
    """Writes the page that a fine-tuning ends with.

    Args:
        card: of the model.
        outcome: on the test images.
        image: ``row -> image``, uint8 ``(h, w, 3)``, of a test image.
        name: ``row -> name`` of its file.
        data: lines on the images that were read.

    Returns:
        str, an HTML page that needs no other file and no network.

    Raises:
        ImportError: without the extra ``viz``.
    """
    labels, route, classes = outcome.labels, outcome.route, card.classes
    confusion = confusion_matrix(labels, outcome.predicted, len(classes), ignore=None)
    by_expert = None if route is None else class_by_expert(route, labels, len(classes))
    curve = None
    if outcome.curve:
        accuracy, macs = zip(*outcome.curve, strict=True)
        dense = None if outcome.dense is None else (outcome.dense[1], outcome.dense[0])
        curve = plot_operating_curve(macs, accuracy, (outcome.macs, outcome.accuracy), dense)
    return render(
        "finetuning.html",
        card=card,
        title=f"{card.name}: {outcome.accuracy:.1%} of the test images are right",
        key_figures=_key_figures(card, outcome),
        findings=_findings(outcome),
        curve=curve,
        confusion=plot_confusion(confusion, classes),
        confused=_confused(confusion, classes),
        mistakes=[(image(row), [*_words(row, outcome, classes), name(row)]) for row in _mistakes(outcome)],
        usage=None if route is None else plot_usage(expert_usage(route)),
        class_by_expert=None if by_expert is None else plot_class_by_expert(by_expert, classes),
        phone=_phone(card, outcome),
        data=data,
    )


def _key_figures(card: Card, outcome: Outcome) -> dict[str, str]:
    low, high = outcome.interval
    figures = {
        "of the test images are right": f"{outcome.accuracy:.1%}",
        "95 % confidence interval": f"{low:.1%} to {high:.1%}",
        "test images": f"{len(outcome.labels):,}",
        "classes": f"{len(card.classes)}",
        "MACs per image": f"{outcome.macs / 1e6:.1f} M",
    }
    if outcome.dense is not None:
        figures["of the dense network's MACs"] = f"{outcome.macs / outcome.dense[1]:.0%}"
    return figures


def _findings(outcome: Outcome) -> list[str]:
    low, high = outcome.interval
    right = int(np.sum(outcome.predicted == outcome.labels))
    of_classes = [np.mean(outcome.predicted[outcome.labels == c] == c) for c in np.unique(outcome.labels)]
    lines = [
        f"{right:,} of {len(outcome.labels):,} test images are right, {outcome.accuracy:.1%}. Other images like these "
        f"would give between {low:.1%} and {high:.1%} (Wilson's interval, 95 %). The mean over classes is "
        f"{np.mean(of_classes):.1%}."
    ]
    if outcome.dense is not None:
        accuracy, macs = outcome.dense
        more = outcome.accuracy - accuracy
        compared = f"{abs(more) * 100:.1f} points {'more' if more > 0 else 'less'}" if more else "as much"
        lines.append(
            f"The dense network of the same backbone, which learned from the same images and taught it, reaches "
            f"{accuracy:.1%} for {macs / 1e6:.1f} M multiply-accumulates an image; this one reaches {compared} for "
            f"{outcome.macs / macs:.0%} of them. (The last stage, in which the whole network learns, was this one's "
            "alone.)"
        )
    return lines


def _confused(confusion: np.ndarray, classes: collections.abc.Sequence[str]) -> Table:
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSED]
    pairs_ = [divmod(int(at), len(classes)) for at in order if wrong.flat[at]]
    rows = [[classes[a], classes[b], f"{wrong[a, b]} of {confusion[a].sum()}"] for a, b in pairs_]
    return Table(["label", "it says", "images"], rows)


def _mistakes(outcome: Outcome) -> list[int]:
    wrong = np.flatnonzero(outcome.predicted != outcome.labels)
    surest = np.argsort(-outcome.probabilities[wrong].max(-1), kind="stable")[:_MISTAKES]
    return [int(row) for row in wrong[surest]]


def _words(row: int, outcome: Outcome, classes: collections.abc.Sequence[str]) -> list[str]:
    guess = outcome.predicted[row]
    return [classes[outcome.labels[row]], f"{classes[guess]} ({outcome.probabilities[row, guess]:.0%})"]


def _phone(card: Card, outcome: Outcome) -> Table:
    weights = card.file("weights.safetensors").size
    return pairs(
        {
            "takes": f"{' x '.join(map(str, card.input.shape))}, values in {card.input.range}",
            "multiply-accumulates": f"{outcome.macs / 1e6:.1f} M executed per image on average, "
            f"{card.macs_total / 1e6:.1f} M with every expert",
            "time of an image": _time(card, outcome.milliseconds),
            "parameters": f"{card.params:,}",
            "file size": f"{weights / 1e6:.1f} MB here; about {card.params * 2 / 1e6:.1f} MB as float16 and "
            f"{card.params / 1e6:.1f} MB as int8 in an app",
        }
    )


def _time(card: Card, milliseconds: dict[str, float]) -> str:
    measure = f"keras-moe bench {card.name} --quantize int8"
    if not milliseconds:
        return f"not measured; {measure} does, with the extras tensorflow and litert"
    every = f", {milliseconds['dense']:.3g} ms with every expert" if "dense" in milliseconds else ""
    return (
        f"{milliseconds['routed']:.3g} ms{every}: medians of LiteRT in float on one thread of the machine that trained "
        f"it, which is no phone. For int8: {measure}"
    )
