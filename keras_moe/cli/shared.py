"""Argument types and printing helpers of the sub-commands."""

import argparse
import contextlib
import json
import pathlib
import sys
import typing
from collections.abc import Callable

from keras_moe.files import is_table

if typing.TYPE_CHECKING:
    import numpy as np

    from keras_moe.models import MoEModel
    from keras_moe.zoo import Card

Command = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]
"""Adds a sub-command: its name, the function that runs it and returns the exit code, and a line of help."""


MODEL = "a published model, a model folder or hf://user/repo[@revision]"
"""What the argument of a model may be, for help."""

PIXELS = "[0, 255]"
"""The range of the values of image files."""


class WrongCommand(Exception):
    """A command line that cannot be run; the exit code is 2."""


def model_name(name: str) -> str:
    """Argument type: a model by name, folder or address; of the Hub with the commit, so that it stays the same."""
    from keras_moe.zoo.sources import find

    try:
        source = find(name)
        source.card(check_model=False)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return source.label


def load_model(name: str, card: "Card") -> "MoEModel":
    """The model; a classifier ends in probabilities. Messages of a download go to stderr."""
    from keras_moe import zoo

    probabilities: dict[str, typing.Any] = {"classifier_activation": "softmax"} if card.classes else {}
    with contextlib.redirect_stdout(sys.stderr):
        return zoo.load(name, **probabilities)


def own_images(name: str, command: str, argument: str) -> "np.ndarray":
    """The calibration images of a model folder, float32; WrongCommand, which names ``argument``, if it has none."""
    from keras_moe import zoo

    images = zoo.calibration_images(name)
    if images is None:
        raise WrongCommand(f"{command} needs {argument}: {name} comes without calibration images")
    return images.astype("float32")


def positive(text: str) -> int:
    """Argument type: an integer >= 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer >= 1. Received: {text}")
    return int(text)


def folder_or_table(text: str) -> pathlib.Path:
    """Argument type: a folder or a .csv file that exists."""
    path = pathlib.Path(text)
    if not path.is_dir() and not (is_table(path) and path.is_file()):
        raise argparse.ArgumentTypeError(f"expected a folder or a .csv file that exists. Received: {text}")
    return path


def check_task(command: str, card: "Card", *tasks: str) -> None:
    """Raises WrongCommand, which names the models that would do, if ``card`` is of none of ``tasks``."""
    from keras_moe import zoo

    if card.task not in tasks:
        models = sorted(name for task in tasks for name in zoo.list_models(task=task))
        raise WrongCommand(
            f"{command} takes a model for {' or '.join(tasks)}: {', '.join(models)}. "
            f"Received: {card.name}, a model for {card.task}"
        )
    check_range(command, card)


def check_range(command: str, card: "Card") -> None:
    """Raises WrongCommand if the model of ``card`` does not take the pixels of image files as they are."""
    if card.input.range != PIXELS:
        raise WrongCommand(f"{command} reads pixels in {PIXELS}. Received: {card.name}, which takes {card.input.range}")


def print_json(value: object) -> int:
    """Prints JSON; returns the exit code 0."""
    print(json.dumps(value, indent=2))
    return 0


def fail(message: str, code: int) -> int:
    """Prints the reason of a failure to stderr; returns the exit code."""
    print(f"keras-moe: {message}", file=sys.stderr)
    return code
