"""resnet8_cifar100_coarse: the dense baseline of the HydraNet for a microcontroller, a slightly wider ResNet-8.

    python -m keras_moe.recipes resnet8_cifar100_coarse [--publish]

It takes the cycles of that mixture on an NPU, and less flash: with more weights, it would take more cycles.
``python -m benchmarks.edge_networks`` has the sizes from which both were chosen.
"""

import pathlib
import typing

from keras_moe.datasets import CIFAR100_COARSE
from keras_moe.models import Classifier
from keras_moe.recipes.publishing.recipe import ModelRecipe
from keras_moe.recipes.shared.cifar100_coarse import CONFIG, DENSE, EPOCHS, NOTE, ROUNDS, learn_round, measure_on_coarse


def train(model: Classifier, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    history: dict[str, typing.Any] = {}
    for name in ROUNDS:
        history |= learn_round(model, seed, folder, epochs, name)
    return history


RECIPE = ModelRecipe(
    name=DENSE,
    summary="A ResNet-8 on the 20 coarse classes of CIFAR-100, for a microcontroller: every image runs all of it.",
    paper="He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016",
    paper_url="https://arxiv.org/abs/1512.03385",
    model=Classifier,
    config={**CONFIG, "alpha": 1.1},
    recipe_note=NOTE,
    dataset=CIFAR100_COARSE,
    train=train,
    measure=measure_on_coarse,
    epochs=EPOCHS,
)
