"""What the sub-commands share: kinds of arguments, and how they print."""

import argparse
import json
import sys


def model_name(name):
    """Argument type: the name of a published model."""
    from keras_moe import zoo

    try:
        return zoo.card(name).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text):
    """Argument type: an integer >= 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer >= 1. Received: {text}")
    return int(text)


def print_json(value):
    """Prints JSON; returns the exit code 0."""
    print(json.dumps(value, indent=2))
    return 0


def fail(message, code):
    """Prints what could not be done to stderr; returns the exit code."""
    print(f"keras-moe: {message}", file=sys.stderr)
    return code
