"""The dense networks of CIFAR-100."""

import pathlib
import typing

from keras_moe.datasets import CIFAR100, cifar100
from keras_moe.models import Classifier, MoEModel
from keras_moe.recipes.publishing.measures import measure_on_cifar100
from keras_moe.recipes.publishing.recipe import ModelRecipe
from keras_moe.training import Recipe, classification_stage, run_stages


def resnet_on_cifar100(depth: int, seeds: tuple[int, ...] = (0, 1)) -> ModelRecipe:
    """A dense CIFAR ResNet, by ``Recipe`` with its defaults on all 50,000 training images."""
    return ModelRecipe(
        name=f"resnet{depth}_cifar100",
        summary=f"ResNet-{depth} on CIFAR-100: every image runs all of it.",
        paper="He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016",
        paper_url="https://arxiv.org/abs/1512.03385",
        model=Classifier,
        config={"input_shape": (32, 32, 3), "alpha": 1.0, "backbone": f"resnet{depth}", "classes": 100},
        recipe_note="40 epochs of AdamW at batch 128, a cosine from 3e-3; JAX on one GPU.",
        dataset=CIFAR100,
        train=_train,
        measure=measure_on_cifar100,
        epochs=40,
        seeds=seeds,
    )


def _train(model: MoEModel, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    learn, test = cifar100()
    return run_stages(model, [classification_stage(model, Recipe(epochs, seed=seed), learn, test)], folder)
