"""``keras-moe predict``."""

import argparse
import dataclasses
import itertools
import pathlib
import typing

from keras_moe.cli.shared import (
    MODEL,
    Command,
    check_task,
    fail,
    load_model,
    model_name,
    own_images,
    positive,
    print_json,
)

if typing.TYPE_CHECKING:
    import numpy as np

    from keras_moe.classify import Classification
    from keras_moe.zoo import Card


def register(command: Command) -> None:
    predict = command("predict", _predict, "Classify images; show the experts that ran and their cost.")
    predict.add_argument("name", type=model_name, help=MODEL)
    predict.add_argument(
        "images", nargs="*", metavar="IMAGE", help="files or folders; default: the calibration images of a model folder"
    )
    predict.add_argument("--top", type=positive, default=5, help="labels per image (default: 5)")
    predict.add_argument("--json", action="store_true", help="print JSON")


def _predict(arguments: argparse.Namespace) -> int:
    import numpy as np

    from keras_moe import zoo
    from keras_moe.classify import classify

    card = zoo.card(arguments.name)
    check_task("predict", card, "classification")
    paths, images, failures = _images(arguments, card)
    if not images:
        if arguments.json:
            print_json([])
        return failures
    model = load_model(arguments.name, card)
    results = classify(model, arguments.name, np.stack(images), min(arguments.top, len(card.classes)))
    if arguments.json:
        print_json([{"image": path, **dataclasses.asdict(result)} for path, result in zip(paths, results, strict=True)])
    else:
        for path, result in zip(paths, results, strict=True):
            _print_result(path, result)
    return failures


def _images(arguments: argparse.Namespace, card: "Card") -> "tuple[list[str], list[np.ndarray], int]":
    """Paths, images, and the exit code: 1 if a file could not be read."""
    from keras_moe.images import read_image

    if not arguments.images:
        remembered = own_images(arguments.name, "predict", "an IMAGE")
        return [f"calibration image {i}" for i in range(len(remembered))], list(remembered), 0
    paths, images, failures = list[str](), list["np.ndarray"](), 0
    for path in itertools.chain.from_iterable(map(_files, arguments.images)):
        try:
            images.append(read_image(path, card.input.shape))
            paths.append(path)
        except (OSError, ValueError) as error:
            failures = fail(str(error), 1)
    return paths, images, failures


def _files(path: str) -> list[str]:
    """A file, or the images in a folder and below."""
    from keras_moe.insights.folders import image_files

    if not pathlib.Path(path).is_dir():
        return [path]
    files = [str(file) for file in image_files(pathlib.Path(path))]
    if not files:
        raise ValueError(f"{path} is a folder without images. Expected an image file, or a folder with some.")
    return files


def _print_result(path: str, result: "Classification") -> None:
    print(path)
    for label, probability in result.top:
        print(f"  {probability:7.2%}  {label}")
    if result.experts:
        print(f"  experts: {result.experts}")
    share = result.macs_executed / result.macs_total
    print(f"  MACs: {result.macs_executed / 1e6:.2f} M of {result.macs_total / 1e6:.2f} M ({share:.0%})")
