"""Recipes: a module for each model of the zoo, named like it, whose ``RECIPE`` trains, measures and publishes it.

python -m keras_moe.recipes NAME [--publish]
"""

import importlib
import pkgutil
import typing

from keras_moe.zoo.listing import check_known

if typing.TYPE_CHECKING:
    from keras_moe.recipes.publishing.recipe import ModelRecipe


def list_recipes() -> list[str]:
    """Names of the recipes, sorted: of all published models, and of some that are not published yet."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if _is_recipe(module))


def load_recipe(name: str) -> "ModelRecipe":
    """The ``ModelRecipe`` of a model. Raises ValueError for a name that has none."""
    check_known(name, list_recipes())
    return importlib.import_module(f"{__name__}.{name}").RECIPE


def _is_recipe(module: pkgutil.ModuleInfo) -> bool:
    return not module.ispkg and not module.name.startswith("_")
