"""test_hydranet: a tiny HydraNet on scikit-learn's handwritten digits, for tests without a network.

    python -m keras_moe.recipes test_hydranet --publish

Trained on the first 1,400 of the 1,797 digits, measured on the remaining 397. About half a minute on two CPU cores.
"""

import pathlib
import typing

from keras_moe.datasets import DIGITS, digits
from keras_moe.models import HydraNet
from keras_moe.recipes.publishing.measures import measure_on_digits
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.training import Recipe, classification_stage, partition_classes, run_stages

CONFIG: Config = {
    "input_shape": (8, 8, 1),
    "alpha": 0.5,
    "backbone": "resnet8",
    "num_experts": 4,
    "top_k": 1,
    "gate_filters": 0,
    "classes": 10,
}


def train(model: HydraNet, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    learn, test = digits()
    groups = partition_classes(learn[0].reshape(len(learn[0]), -1), learn[1], CONFIG["num_experts"])
    recipe = Recipe(epochs, batch_size=100, augment=False, seed=seed)
    return run_stages(model, [classification_stage(model, recipe, learn, test, groups)], folder)


RECIPE = ModelRecipe(
    name="test_hydranet",
    summary="Tiny HydraNet on 8x8 digits, for tests without a network.",
    paper="Mullapudi, Mark, Shazeer, Fatahalian: HydraNets, CVPR 2018, pp. 8080-8089",
    paper_url="https://openaccess.thecvf.com/CVPR2018",
    model=HydraNet,
    recipe_note="12 epochs of AdamW on 1,400 digits, classes grouped by their mean image; half a CPU minute.",
    config=CONFIG,
    dataset=DIGITS,
    measure=measure_on_digits,
    train=train,
    epochs=12,
)
