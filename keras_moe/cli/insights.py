"""``keras-moe insights``."""

import argparse
import functools
import importlib.util
import pathlib
import typing

from keras_moe.cli.shared import MODEL, Command, check_task, fail, load_model, model_name, own_images
from keras_moe.datasets import labelled

if typing.TYPE_CHECKING:
    from keras_moe.insights import Samples
    from keras_moe.zoo import Card


def register(command: Command) -> None:
    insights = command("insights", _insights, "Write a page on the experts: their work, disagreement and confidence.")
    insights.add_argument("name", type=model_name, help=MODEL)
    insights.add_argument(
        "data", nargs="?",
        help=f"for classifiers {_named('classification')} (their test images), a folder or .csv as for finetune (its "
        "test images, if it has parts), a folder of images, or an .npz with images and perhaps labels; for "
        f"segmentation {_named('segmentation')}, a folder with images/ and perhaps masks/, or an .npz; default: the "
        "calibration images of a model folder",
    )  # fmt: skip
    insights.add_argument("--out", type=pathlib.Path, default="report.html", help="the page (default: report.html)")


def _named(task: str) -> str:
    return ", ".join(map(repr, labelled(task)))


def _insights(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import track

    from keras_moe import insights, zoo
    from keras_moe.files import write_bytes

    card, out = zoo.card(arguments.name), arguments.out
    check_task("insights", card, "classification", "segmentation")
    if out.is_dir() or not out.parent.is_dir():
        return fail(f"--out must be a file in a folder that exists. Received: {out}", 2)
    if not all(map(importlib.util.find_spec, ("matplotlib", "jinja2"))):
        return fail("the page is written with matplotlib and jinja2: pip install 'keras-moe[viz]'", 1)
    samples = _samples(arguments, card)
    model = load_model(arguments.name, card)
    progress = functools.partial(track, description="asking the experts", console=Console(stderr=True), transient=True)
    if card.task == "segmentation":
        pixels = insights.collect_segmentation_predictions(model, samples, progress)
        page = insights.create_segmentation_report(model, card, samples, pixels)
    else:
        predictions = insights.collect_expert_predictions(model, samples.images, track=progress)
        page = insights.create_classification_report(model, card, samples, predictions)
    write_bytes(out, page.encode())
    print(f"{out}: {card.name} on {samples.source}")
    return max((fail(problem, 1) for problem in samples.problems), default=0)


def _samples(arguments: argparse.Namespace, card: "Card") -> "Samples":
    from keras_moe import insights

    if arguments.data is not None:
        return insights.read_samples(arguments.data, card)
    images = own_images(arguments.name, "insights", "DATA")
    return insights.Samples(images, None, f"the {len(images)} calibration images of {card.name}")
