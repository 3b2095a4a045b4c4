"""LiteRT files of a published model, measured by its own metric on its test split and pinned in its card.

    KERAS_BACKEND=tensorflow python -m keras_moe.recipes.publishing.litert_files NAME [--files routed_int8.tflite …]

int8 is calibrated with training images. A file that loses more than its data set's ``tolerance``, or with which the
model's folder would exceed its size limit, is not kept. Run this again whenever the model is published again.
"""

import argparse
import dataclasses
import pathlib
import typing

import numpy as np

from keras_moe import zoo
from keras_moe.datasets import Dataset
from keras_moe.export import LiteRTModel, ParityError, litert
from keras_moe.models import MoEModel
from keras_moe.recipes import load_recipe
from keras_moe.recipes.publishing import edge_figures
from keras_moe.zoo import Card
from keras_moe.zoo.model_card import File, Metric
from keras_moe.zoo.store import published_folder
from keras_moe.zoo.writing import pin, write_card

MOST = 30e6  # bytes of a model's files

# The weights are published in float16. A float16 file computes the route in float32: half the space, the same routes.
ROUTED: dict[str, dict[str, typing.Any]] = {
    f"routed_{q}.tflite": {"quantize": q} for q in ("float16", "dynamic", "int8")
}
_INT8 = "routed_int8.tflite"
INTEGERS: dict[str, dict[str, typing.Any]] = {"parts_int8.json": {"quantize": "int8", "form": "parts"}}
PARTS = INTEGERS | {"parts_float16.json": {"quantize": "float16", "form": "parts"}}


class Trial:
    """The images of a data set on which the files of a model are calibrated and measured."""

    def __init__(self, dataset: Dataset, card: Card) -> None:
        self.dataset = dataset
        self.images, self.labels, _ = dataset.load_test(card.input.shape)
        self.calibration = dataset.load_calibration(card.input.shape)

    def score(self, predictions: np.ndarray) -> float:
        """The data set's ``score`` of predictions for ``images``."""
        return round(float(self.dataset.score(predictions, self.labels)), 6)


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the LiteRT files of a published model into its folder.")
    parser.add_argument("name", choices=zoo.list_models())
    parser.add_argument(
        "--files", nargs="+", choices=[*ROUTED, *PARTS], help="these alone, the others stay; by default those in int8"
    )
    parser.add_argument("--trunk-precision", choices=("int8", "float"), help=f"of {_INT8}; see litert")
    arguments = parser.parse_args()
    card = zoo.card(arguments.name)
    model, folder = zoo.load(card.name), published_folder() / card.name
    trial = Trial(load_recipe(card.name).dataset, card)
    wanted = _wanted(model, arguments.files or [_INT8, *INTEGERS])
    if _INT8 in wanted:
        wanted[_INT8] = wanted[_INT8] | {"trunk_precision": arguments.trunk_precision}
    old = {file for name in wanted for file in _files_of(folder / name)}
    for name in old:
        (folder / name).unlink()
    reference = trial.score(model.predict(trial.images, batch_size=16, verbose=0))
    print(f"{card.name}: Keras {trial.dataset.metric} {reference:.4f}")
    files = [file for file in card.files if file.name not in old]
    metrics = [metric for metric in card.metrics if not metric.name.endswith(tuple(wanted))]
    for name, options in wanted.items():
        records, metric = _written(card, model, folder / name, options, trial, reference)
        if metric is None:
            continue
        is_kept = (
            metric.value >= reference - trial.dataset.tolerance and sum(file.size for file in (*files, *records)) < MOST
        )
        print(f"{name}: {metric.text()}; {metric.note}{'' if is_kept else '; NOT KEPT'}", flush=True)
        if is_kept:
            files += records
            metrics.append(metric)
        else:
            for file in records:
                (folder / file.name).unlink()
    write_card(dataclasses.replace(card, files=tuple(files), metrics=tuple(metrics)), folder)


def _files_of(path: pathlib.Path) -> list[str]:
    """Names of what a former run wrote for ``path``: a file, or a manifest and its parts."""
    return [found.name for found in path.parent.glob(f"{path.stem}.*")]


def _written(
    card: Card, model: MoEModel, path: pathlib.Path, options: dict[str, typing.Any], trial: Trial, reference: float
) -> tuple[list[File], Metric | None]:
    """The files of one form and their metric: ``([File, …], Metric)``; ``([], None)`` for a file that disagrees."""
    try:
        report = litert(
            model, path, representative_dataset=trial.calibration, images=trial.images, card=card, **options
        )
    except ParityError as error:
        print(f"{path.name}: not kept. {error}")
        return [], None
    path.with_suffix(".report.json").unlink()
    predictions, route = LiteRTModel(path).predict_routed(trial.images)
    value, note = trial.score(predictions), _note(report, route, trial, reference)
    if options["quantize"] == "int8":
        note += edge_figures.note(path, route)
    name, seeds = f"{trial.dataset.metric} of {path.name}", card.metrics[0].seeds[:1]
    metric = Metric(name, value, "test", seeds, (value,), note, trial.dataset.unit)
    return [pin(name, (path.parent / name).read_bytes()) for name in report["files"]], metric


def _wanted(model: MoEModel, names: list[str]) -> dict[str, dict[str, typing.Any]]:
    """Those of ``names`` -> arguments of ``litert``. Without experts parts are worth having for their int8 border."""
    return {name: options for name, options in (ROUTED | (PARTS if model.bank else INTEGERS)).items() if name in names}


def _note(report: dict[str, typing.Any], route: np.ndarray | None, trial: Trial, reference: float) -> str:
    parity = report["parity"]
    keras = Metric("", reference, "", (0,), (reference,), unit=trial.dataset.unit).text()
    note = f"{report['bytes']:,} bytes; Keras {keras}"
    if not trial.dataset.unit:
        note += f"; on {parity['images']:,} test images the same class for {parity['prediction_agreement']:.1%}"
    if route is None:
        return note
    precision = ", trunk in float" if report["trunk_precision"] == "float" else ""
    return f"{note}, the same experts for {parity['routing_agreement']:.1%}{precision}"


if __name__ == "__main__":
    main()
