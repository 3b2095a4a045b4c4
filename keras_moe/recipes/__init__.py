"""Recipes: the module named like a model of the zoo has a ``RECIPE`` that trains, measures and publishes it.

python -m keras_moe.recipes NAME [--publish]
"""

import importlib
import pkgutil
import typing

from keras_moe.zoo import listing

if typing.TYPE_CHECKING:
    from keras_moe.recipes.publishing.recipe import ModelRecipe


def list_recipes() -> list[str]:
    """Names of the recipes, sorted: those of all published models and of some that are not published yet.

    Example:
        >>> recipes.list_recipes()[:2]
        ['classsr_fsrcnn_x2', 'classsr_fsrcnn_x4']
    """
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if _is_recipe(module))


def load_recipe(name: str) -> "ModelRecipe":
    """The ``ModelRecipe`` of a model.

    Args:
        name: str, one of ``list_recipes()``.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> recipe = recipes.load_recipe("test_hydranet")
        >>> recipe.dataset.name, recipe.config["num_experts"]
        ('digits', 4)
        >>> recipes.load_recipe("test_hydra")
        Traceback (most recent call last):
        ValueError: Unknown recipe 'test_hydra'. Did you mean test_hydranet? Expected one of: classsr_fsrcnn_x2, ...
    """
    listing.check_known("recipe", name, list_recipes())
    recipe: ModelRecipe = importlib.import_module(f"{__name__}.{name}").RECIPE
    return recipe


def _is_recipe(module: pkgutil.ModuleInfo) -> bool:
    return not module.ispkg and not module.name.startswith("_")
