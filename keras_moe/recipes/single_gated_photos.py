"""single_gated_photos: a thinned EfficientNet-Lite0 that predicts alone where it is sure, and four experts beside it.

    KERAS_BACKEND=tensorflow python -m keras_moe.recipes efficientnet_lite0_thin_photos   # the base
    KERAS_BACKEND=tensorflow python -m keras_moe.recipes single_gated_photos [--publish]

The base keeps the weights that it has. Gate and experts, which start as its tail and read what its third stage gives,
learn in the second round of ``keras_moe.recipes.shared.photos``. Then the threshold of the early exit is set for a
budget of 70 % of the dense network's MACs on photographs that were held out.
"""

import pathlib
import typing

from keras_moe.datasets import PHOTOS, photos
from keras_moe.images import resized
from keras_moe.models import SingleGatedMoE
from keras_moe.recipes import single_gated_cifar100
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.recipes.shared.photo_features import held_out
from keras_moe.recipes.shared.photos import (
    DENSE,
    MIXTURE,
    SECOND_NOTE,
    THIN,
    THIN_CONFIG,
    measure_on_photos,
    published_dense,
    second_round,
    thin,
    with_seed,
)
from keras_moe.training import fit_threshold

SHARE = 0.7
CONFIG: Config = {**THIN_CONFIG, "split_at": 3, "num_experts": 4, "top_k": 1}


def train(model: SingleGatedMoE, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    history = second_round(model, thin(folder.parents[1], seed), with_seed(MIXTURE, seed, epochs), folder)
    images, labels = (part[held_out()] for part in photos("train"))
    fit_threshold(model, resized(images, model.input_shape[1]), labels, budget=SHARE * published_dense().macs_total)
    return history


RECIPE = ModelRecipe(
    name="single_gated_photos",
    summary="A thin base on photographs of 203 everyday things and 4 experts, of which one runs where it is unsure.",
    paper=single_gated_cifar100.RECIPE.paper,
    paper_url=single_gated_cifar100.RECIPE.paper_url,
    model=SingleGatedMoE,
    recipe_note=f"The base is {THIN}. A gate, taught by groups of classes that look alike to the trunk, and experts "
    f"that start as its tail learn for {MIXTURE.epochs} epochs, a cosine from 2.5e-4: {SECOND_NOTE}.",
    config=CONFIG,
    baseline=DENSE,
    dataset=PHOTOS,
    measure=measure_on_photos,
    train=train,
    epochs=MIXTURE.epochs,
)
