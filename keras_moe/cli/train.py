"""``keras-moe train``."""

import argparse
import runpy
import sys

from keras_moe.cli.shared import Command, model_name


def register(command: Command) -> None:
    train = command("train", _train, "Train a published model anew, by its committed recipe.")
    train.add_argument("name", type=model_name)
    train.add_argument("options", nargs=argparse.REMAINDER, help="options of the recipe; try --help")


def _train(arguments: argparse.Namespace) -> int:
    from keras_moe.zoo import store

    recipe = store.published_folder() / arguments.name / "recipe.py"
    before = sys.argv
    sys.argv = [str(recipe), *arguments.options]
    try:
        runpy.run_path(str(recipe), run_name="__main__")
    finally:
        sys.argv = before
    return 0
