"""``keras-moe predict``."""

import argparse
import contextlib
import dataclasses
import sys
import typing

from keras_moe.cli.shared import Command, check_task, fail, model_name, positive, print_json

if typing.TYPE_CHECKING:
    from keras_moe.classify import Classification


def register(command: Command) -> None:
    predict = command("predict", _predict, "Classify images; show the experts that ran and their cost.")
    predict.add_argument("name", type=model_name)
    predict.add_argument("images", nargs="+", metavar="IMAGE")
    predict.add_argument("--top", type=positive, default=5, help="labels per image (default: 5)")
    predict.add_argument("--json", action="store_true", help="print JSON")


def _predict(arguments: argparse.Namespace) -> int:
    import numpy as np

    from keras_moe import zoo
    from keras_moe.classify import classify
    from keras_moe.images import read_image

    card = zoo.card(arguments.name)
    check_task("predict", card, "classification")
    paths, images, failures = [], [], 0
    for path in arguments.images:
        try:
            images.append(read_image(path, card.input.shape))
            paths.append(path)
        except (OSError, ValueError) as error:
            failures = fail(str(error), 1)
    if not images:
        return failures
    with contextlib.redirect_stdout(sys.stderr):  # a download shows its progress
        model = zoo.load(card.name)
    results = classify(model, card.name, np.stack(images), min(arguments.top, len(card.classes)))
    if arguments.json:
        print_json([{"image": path, **dataclasses.asdict(result)} for path, result in zip(paths, results, strict=True)])
    else:
        for path, result in zip(paths, results, strict=True):
            _print_result(path, result)
    return failures


def _print_result(path: str, result: "Classification") -> None:
    print(path)
    for label, probability in result.top:
        print(f"  {probability:7.2%}  {label}")
    if result.experts:
        print(f"  experts: {result.experts}")
    share = result.macs_executed / result.macs_total
    print(f"  MACs: {result.macs_executed / 1e6:.2f} M of {result.macs_total / 1e6:.2f} M ({share:.0%})")
