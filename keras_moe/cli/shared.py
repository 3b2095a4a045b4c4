"""What the sub-commands share: kinds of arguments, and how they print."""

import argparse
import json
import sys
from collections.abc import Callable

Command = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]
"""Adds a sub-command: name, what runs it and returns the exit code, and a line of help."""


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


def print_json(value: object) -> int:
    """Prints JSON; returns the exit code 0."""
    print(json.dumps(value, indent=2))
    return 0


def fail(message: str, code: int) -> int:
    """Prints what could not be done to stderr; returns the exit code."""
    print(f"keras-moe: {message}", file=sys.stderr)
    return code
