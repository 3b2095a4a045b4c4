"""single_gated_cifar100: a ResNet-14 and four experts, of which an image that the base is unsure about runs one.

    python -m keras_moe.recipes resnet14_cifar100 --seeds 0 1     # the bases
    python -m keras_moe.recipes single_gated_cifar100 [--seeds 0 1] [--publish]

The base is ``resnet14_cifar100`` of the same seed. k-means over its embeddings of the 50,000 training images gives each
image an expert; the gate learns that for one epoch; then each expert, a copy of the base's last stage, learns alone for
40 epochs of 12,500 images, drawn from those that the gate would send it and a few others, by the base's own recipe.
"""

import os
import pathlib
import typing

from keras_moe.datasets import CIFAR100, cifar100
from keras_moe.models import Classifier, SingleGatedMoE
from keras_moe.recipes.publishing.measures import measure_on_cifar100
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.recipes.shared.trained import trained_weights
from keras_moe.training import Recipe, train_single_gated

BACKBONE, BASE = "resnet14", "resnet14_cifar100"
CONFIG: Config = {
    "input_shape": (32, 32, 3),
    "alpha": 1.0,
    "backbone": BACKBONE,
    "num_experts": 4,
    "top_k": 1,
    "classes": 100,
}


def load_base(runs: str | os.PathLike[str], seed: int) -> Classifier:
    """The trained base of this seed, as the recipe ``resnet14_cifar100`` leaves it in ``runs``."""
    return Classifier(backbone=BACKBONE, classifier_activation=None, weights=trained_weights(runs, BASE, seed))


def train(model: SingleGatedMoE, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    learn, test = cifar100()
    model.init_from_classifier(load_base(pathlib.Path(folder).parents[1], seed))
    return train_single_gated(model, learn, test, folder, Recipe(epochs, seed=seed))


RECIPE = ModelRecipe(
    name="single_gated_cifar100",
    summary="ResNet-14 base and four experts on CIFAR-100; the base may decide alone.",
    paper="Royer, Karmanov, Skliar, Ehteshami Bejnordi, Blankevoort: Revisiting Single-gated Mixtures of "
    "Experts, BMVC 2022",
    paper_url="https://arxiv.org/abs/2304.05497",
    model=SingleGatedMoE,
    recipe_note="A trained base, a gate learned from k-means, four experts of 40 epochs of 12,500 images each "
    "by AdamW at batch 128, a cosine from 3e-3; JAX on one GPU.",
    config=CONFIG,
    baseline=BASE,
    dataset=CIFAR100,
    measure=measure_on_cifar100,
    train=train,
    epochs=40,
    seeds=(0, 1),
)
