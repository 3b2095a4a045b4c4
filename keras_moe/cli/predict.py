"""``keras-moe predict``."""

import argparse
import dataclasses
import itertools
import pathlib
import typing
from collections.abc import Iterator

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
from keras_moe.files import is_table

_BATCH = 64  # images in memory at once

if typing.TYPE_CHECKING:
    import numpy as np

    from keras_moe.classify import Classification
    from keras_moe.zoo import Card


def register(command: Command) -> None:
    predict = command("predict", _predict, "Classify images; show the experts that ran and their cost.")
    predict.add_argument("name", type=model_name, help=MODEL)
    predict.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="files, folders or a .csv as for finetune; default: the calibration images of a model folder",
    )
    predict.add_argument("--top", type=positive, default=5, help="labels per image (default: 5)")
    predict.add_argument("--json", action="store_true", help="print JSON")


def _predict(arguments: argparse.Namespace) -> int:
    import numpy as np

    from keras_moe import zoo
    from keras_moe.classify import classify

    card = zoo.card(arguments.name)
    check_task("predict", card, "classification")
    failures, records, model = list[int](), list[dict[str, typing.Any]](), None
    for batch in _batches(_images(arguments, card, failures)):
        model = model or load_model(arguments.name, card)
        paths, images = zip(*batch, strict=True)
        results = classify(model, card, np.stack(images), min(arguments.top, len(card.classes)))
        for path, result in zip(paths, results, strict=True):
            if arguments.json:
                records.append({"image": path, **dataclasses.asdict(result)})
            else:
                _print_result(path, result)
    if arguments.json:
        print_json(records)
    return max(failures, default=0)


def _images(arguments: argparse.Namespace, card: "Card", failures: list[int]) -> "Iterator[tuple[str, np.ndarray]]":
    """Paths and images, each read as it is asked for; adds to ``failures`` the exit code of what could not be read."""
    from keras_moe.images import read_image

    if not arguments.images:
        remembered = own_images(arguments.name, "predict", "an IMAGE")
        yield from ((f"calibration image {i}", image) for i, image in enumerate(remembered))
    for path in itertools.chain.from_iterable(map(_files, arguments.images)):
        try:
            yield path, read_image(path, card.input.shape)
        except (OSError, ValueError) as error:
            failures.append(fail(str(error), 1))


def _batches(images: "Iterator[tuple[str, np.ndarray]]") -> "Iterator[list[tuple[str, np.ndarray]]]":
    while batch := list(itertools.islice(images, _BATCH)):
        yield batch


def _files(path: str) -> list[str]:
    """A file, or the images of a folder or of a table."""
    from keras_moe.datasets.files.listing import image_paths

    if not pathlib.Path(path).is_dir() and not is_table(path):
        return [path]
    files = image_paths(path)
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
