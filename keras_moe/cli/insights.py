"""``keras-moe insights``."""

import argparse
import contextlib
import functools
import importlib.util
import pathlib
import sys

from keras_moe.cli.shared import Command, check_task, fail, model_name
from keras_moe.datasets import labelled


def register(command: Command) -> None:
    insights = command("insights", _insights, "Write a page on the experts: their work, disagreement and confidence.")
    insights.add_argument("name", type=model_name)
    insights.add_argument(
        "data", help=f"for classifiers {_named('classification')} (their test images), a folder of images (its "
        "sub-folders are labels if named like classes), or an .npz with images and perhaps labels; for segmentation "
        f"{_named('segmentation')}, a folder with images/ and perhaps masks/, or an .npz",
    )  # fmt: skip
    insights.add_argument("--out", type=pathlib.Path, default="report.html", help="the page (default: report.html)")


def _named(task: str) -> str:
    return ", ".join(map(repr, labelled(task)))


def _insights(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import track

    from keras_moe import zoo
    from keras_moe.files import write_bytes
    from keras_moe.insights import collect_expert_predictions, create_report, create_scene_report, read_samples

    card, out = zoo.card(arguments.name), arguments.out
    check_task("insights", card, "classification", "segmentation")
    if out.is_dir() or not out.parent.is_dir():
        return fail(f"--out must be a file in a folder that exists. Received: {out}", 2)
    if importlib.util.find_spec("matplotlib") is None:
        return fail("the page is drawn with matplotlib: pip install 'keras-moe[viz]'", 1)
    samples = read_samples(arguments.data, card)
    with contextlib.redirect_stdout(sys.stderr):  # a download shows its progress
        model = zoo.load(card.name)
    progress = functools.partial(track, description="asking the experts", console=Console(stderr=True), transient=True)
    if card.task == "segmentation":
        page = create_scene_report(model, card, samples, progress)
    else:
        page = create_report(model, card, samples, collect_expert_predictions(model, samples.images, track=progress))
    write_bytes(out, page.encode())
    print(f"{out}: {card.name} on {samples.source}")
    return max((fail(problem, 1) for problem in samples.problems), default=0)
