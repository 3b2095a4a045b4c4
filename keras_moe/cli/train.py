"""``keras-moe train``."""

import argparse

from keras_moe.cli.shared import Command
from keras_moe.recipes import list_recipes, load_recipe
from keras_moe.zoo.listing import check_known


def register(command: Command) -> None:
    train = command("train", _train, "Train a model of the zoo anew, by its committed recipe.")
    train.add_argument("name", type=_recipe_name)
    train.add_argument("options", nargs=argparse.REMAINDER, help="options of the recipe; try --help")


def _recipe_name(name: str) -> str:
    """Argument type: a model that has a recipe."""
    try:
        check_known("recipe", name, list_recipes())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name


def _train(arguments: argparse.Namespace) -> int:
    from keras_moe.recipes.publishing.publish import main

    main(load_recipe(arguments.name), arguments.options, f"keras-moe train {arguments.name}")
    return 0
