"""A fine-tuned network in its folder: the knob set, the test part measured, card, weights, records and page."""

import dataclasses
import os
import pathlib
import typing

import numpy as np

from keras_moe.datasets import LabelledFiles
from keras_moe.files import printable, write_bytes
from keras_moe.images import centred, with_channels
from keras_moe.metrics import wilson_interval
from keras_moe.models import HydraNet, MoEModel
from keras_moe.training.finetuning.features import by_chunks
from keras_moe.training.finetuning.measuring import Measured, fit_budget, measured, operating_curve
from keras_moe.training.finetuning.plan import FineTuningSettings
from keras_moe.training.finetuning.progress import say
from keras_moe.training.finetuning.start import Start
from keras_moe.training.finetuning.timing import milliseconds
from keras_moe.training.finetuning.training import Learned
from keras_moe.training.operating_point import OperatingPoint
from keras_moe.types import Array
from keras_moe.zoo import Data, Metric, calibration, save

if typing.TYPE_CHECKING:
    from keras_moe.zoo import Card

_PAGE = "report.html"
_MUCH = 0.05  # of accuracy, which a mixture that costs less may not lose without a word


@dataclasses.dataclass(frozen=True)
class FineTuned:
    """What ``finetune`` made.

    Attributes:
        model: the network, which ends in probabilities.
        card: its ``Card``.
        page: path of the page.
        accuracy: float, on the test part.
        interval: ``(low, high)``, floats, the 95 % confidence interval of the accuracy.
        macs: float, mean multiply-accumulates per test image.
        dense_accuracy, dense_macs: floats, of the dense network that taught it; None without one.

    Example:
        >>> list(training.FineTuned.__annotations__)[:2]
        ['model', 'card']
    """

    model: MoEModel
    card: "Card"
    page: pathlib.Path
    accuracy: float
    interval: tuple[float, float]
    macs: float
    dense_accuracy: float | None = None
    dense_macs: float | None = None

    def text(self) -> str:
        """The result in a line or two.

        Example:
            >>> import pathlib
            >>> result = training.FineTuned(None, None, pathlib.Path("pets/report.html"), 0.9, (0.85, 0.93), macs=2.5e6)
            >>> print(result.text())
            90.0% of the test images are right (85.0% to 93.0%), 2.5 M MACs
            pets: the model; pets/report.html: the page
        """
        low, high = self.interval
        lines = [
            f"{self.accuracy:.1%} of the test images are right ({low:.1%} to {high:.1%}), {self.macs / 1e6:.1f} M MACs"
        ]
        if self.dense_accuracy is not None and self.dense_macs is not None:
            lines.append(
                f"the dense network that taught it: {self.dense_accuracy:.1%}, {self.dense_macs / 1e6:.1f} M MACs"
            )
            if self.dense_accuracy - self.accuracy > _MUCH:
                lines.append("the dense network is better: more images may help, or keep it, with --dense (dense=True)")
        return "\n".join([*lines, f"{self.page.parent}: the model; {self.page}: the page"])


def finish(
    learned: Learned,
    start: Start,
    files: LabelledFiles,
    settings: FineTuningSettings,
    work: pathlib.Path,
    out: pathlib.Path,
    verbose: bool,
) -> FineTuned:
    """Sets the knob, measures, saves and writes the page, all in ``work``; ``out`` is there whole or not at all."""
    model, rest, made = learned.model, learned.rest, work / "model" / out.name
    made.parent.mkdir(exist_ok=True)
    fit_budget(model, _affordable(learned, operating_curve(model, rest, learned.val)), settings.budget)
    test = measured(model, rest, learned.test)
    curve = operating_curve(model, rest, learned.test)
    interval = wilson_interval(int(test.right.sum()), len(test.labels))
    calibrating = _calibration(model, learned)
    took = _timed(model, calibrating, verbose) if settings.latency else {}
    card = save(
        model, made, overwrite=True, labels=files.classes, calibration=calibrating,
        records={"log": learned.history, "metrics": _records(test, interval, curve, learned) | {"milliseconds": took}},
        **_fields(start, files, settings, test, learned),
    )  # fmt: skip
    files.write_remarks(made / "remarks.json")
    write_bytes(made / _PAGE, _page(learned, files, card, test, interval, curve, took).encode())
    os.rename(made, out)
    reference = learned.reference
    return FineTuned(
        model, card, out / _PAGE, test.accuracy, interval, test.macs,
        None if reference is None else reference.accuracy, None if reference is None else reference.macs,
    )  # fmt: skip


def _timed(model: MoEModel, images: Array, verbose: bool) -> dict[str, float]:
    say("timing it by LiteRT (latency=False, --no-latency leave that out)", verbose)
    try:
        return milliseconds(model, images)
    except Exception as error:  # whatever the converter lets out: what was learned is worth more than a figure on it
        say(f"it could not be timed: {error}", verbose)
        return {}


def _affordable(learned: Learned, curve: list[OperatingPoint]) -> list[OperatingPoint]:
    """The points of a HydraNet that cost no more than the dense network, if there are any; else all."""
    if learned.reference is None or not isinstance(learned.model, HydraNet):
        return curve  # an expert beside a base always costs more than the base
    return [point for point in curve if point.macs <= learned.reference.macs] or curve


def _calibration(model: MoEModel, learned: Learned) -> Array:
    """Validation images for int8 files, drawn once: of each expert's as many, where there are."""
    drawn = np.random.default_rng(0).permutation(len(learned.val.labels))
    if model.bank is not None:
        experts = by_chunks(learned.rest.route, learned.val.views[0]).argmax(-1)
        drawn = drawn[np.argsort(_turns(experts[drawn]), kind="stable")]
    rows = np.sort(drawn[: calibration.IMAGES])
    return with_channels(centred(learned.val.images[rows], model.input_shape[1]), model.input_shape[-1])


def _turns(experts: Array) -> Array:
    """How many of the ``experts`` before each one are the same, int ``(n,)``."""
    return np.array([np.count_nonzero(experts[:i] == expert) for i, expert in enumerate(experts)])


def _fields(
    start: Start, files: LabelledFiles, settings: FineTuningSettings, test: Measured, learned: Learned
) -> dict[str, typing.Any]:
    count, classes = len(files.paths), len(files.classes)
    source = printable(pathlib.Path(files.source).resolve().name)
    accuracy = round(test.accuracy, 6)
    epochs = [f"{len(logs)} epoch{'' if len(logs) == 1 else 's'} of {stage}" for stage, logs in learned.history.items()]
    of_classes = [float(test.right[test.labels == c].mean()) for c in np.unique(test.labels)]
    metrics = {"accuracy": accuracy, "accuracy_of_classes": round(float(np.mean(of_classes)), 6)}
    return {
        "summary": f"{type(learned.model).__name__} fine-tuned from {start.name} on images of {classes} classes.",
        "license": start.license,
        "recipe_note": f"{', '.join(epochs)}.",
        "data": Data(source, "the user's own", f"{count:,} images of {classes} classes"),
        "metrics": tuple(Metric(k, v, "test", (settings.seed,), (v,)) for k, v in metrics.items()),
        "macs_executed": test.macs,
    }


def _records(
    test: Measured, interval: tuple[float, float], curve: list[OperatingPoint], learned: Learned
) -> dict[str, typing.Any]:
    reference = learned.reference
    return {
        "accuracy": test.accuracy,
        "interval": interval,
        "images": len(test.labels),
        "macs": test.macs,
        "dense": None if reference is None else {"accuracy": reference.accuracy, "macs": reference.macs},
        "groups": None if learned.groups is None else learned.groups.tolist(),
        "curve": [dataclasses.asdict(point) for point in curve],
    }


def _page(
    learned: Learned,
    files: LabelledFiles,
    card: "Card",
    test: Measured,
    interval: tuple[float, float],
    curve: list[OperatingPoint],
    took: dict[str, float],
) -> str:
    from keras_moe.insights.report.finetuning import Outcome, create_finetuning_report

    reference = learned.reference
    return create_finetuning_report(
        card,
        Outcome(
            test.labels, test.probabilities, test.route, test.macs, interval,
            [(point.quality, point.macs) for point in curve],
            None if reference is None else (reference.accuracy, reference.macs), took,
        ),
        lambda row: centred([learned.test.images[row]], 128)[0],
        lambda row: files.name(learned.test.images.paths[row]),
        files.text().splitlines(),
    )  # fmt: skip
