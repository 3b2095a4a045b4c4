"""test_single_gated: a tiny single-gated MoE on scikit-learn's handwritten digits, for tests without a network.

    python -m keras_moe.recipes test_single_gated --publish

Trained on the first 1,400 of the 1,797 digits, measured on the remaining 397. About half a minute on two CPU cores.
"""

import dataclasses
import pathlib
import typing

from keras_moe.datasets import DIGITS, digits
from keras_moe.models import Classifier, SingleGatedMoE
from keras_moe.recipes.publishing.measures import measure_on_digits
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.training import Recipe, classification_stage, run_stages, train_single_gated

BASE: Config = {"input_shape": (8, 8, 1), "alpha": 0.5, "backbone": "resnet8", "classes": 10}
CONFIG: Config = {**BASE, "num_experts": 3, "threshold": 0.8}


def train(model: SingleGatedMoE, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    learn, test = digits()
    recipe = Recipe(epochs, batch_size=100, augment=False, seed=seed)
    base = Classifier(**BASE, classifier_activation=None)
    history = run_stages(base, [classification_stage(base, recipe, learn, test, name="base")], folder / "base")
    model.init_from_classifier(base)
    experts = dataclasses.replace(recipe, learning_rate=1e-3)
    return history | train_single_gated(model, learn, test, folder, experts)


RECIPE = ModelRecipe(
    name="test_single_gated",
    summary="Tiny single-gated MoE on 8x8 digits, for tests without a network.",
    paper="Royer, Karmanov, Skliar, Ehteshami Bejnordi, Blankevoort: Revisiting Single-gated Mixtures of "
    "Experts, BMVC 2022",
    paper_url="https://arxiv.org/abs/2304.05497",
    model=SingleGatedMoE,
    recipe_note="A base of 12 epochs of AdamW on 1,400 digits, then three experts of 12 epochs of 467 digits.",
    config=CONFIG,
    dataset=DIGITS,
    measure=measure_on_digits,
    train=train,
    epochs=12,
)
