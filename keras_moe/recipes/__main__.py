"""``python -m keras_moe.recipes NAME [--seeds 0 1] [--publish]``."""

import argparse

from keras_moe.recipes import list_recipes, load_recipe
from keras_moe.recipes.publishing.publish import main

parser = argparse.ArgumentParser(prog="python -m keras_moe.recipes", description="Trains a model of the zoo.")
parser.add_argument("name", choices=list_recipes())
parser.add_argument("options", nargs=argparse.REMAINDER, help="options of the recipe; try NAME --help")
arguments = parser.parse_args()
main(load_recipe(arguments.name), arguments.options, f"{parser.prog} {arguments.name}")
