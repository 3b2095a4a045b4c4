"""Kinds of arguments and ways to print that sub-commands share."""

import argparse
import json
import pathlib
import sys
import typing
from collections.abc import Callable

if typing.TYPE_CHECKING:
    from keras_moe.zoo import Card

Command = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]
"""Adds a sub-command: its name, the function that runs it and returns the exit code, and a line of help."""


class WrongCommand(Exception):
    """A command line that cannot be run; the exit code is 2."""


def model_name(name: str) -> str:
    """Argument type: the name of a published model."""
    from keras_moe import zoo

    try:
        return zoo.card(name, check_model=False).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> int:
    """Argument type: an integer >= 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer >= 1. Received: {text}")
    return int(text)


def folder(text: str) -> pathlib.Path:
    """Argument type: a folder that exists."""
    path = pathlib.Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"expected a folder that exists. Received: {text}")
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


def print_json(value: object) -> int:
    """Prints JSON; returns the exit code 0."""
    print(json.dumps(value, indent=2))
    return 0


def fail(message: str, code: int) -> int:
    """Prints the reason of a failure to stderr; returns the exit code."""
    print(f"keras-moe: {message}", file=sys.stderr)
    return code
