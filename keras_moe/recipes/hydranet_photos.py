"""hydranet_photos: a HydraNet on photographs of 203 classes, grown from EfficientNet-Lite0.

    KERAS_BACKEND=tensorflow python -m keras_moe.recipes efficientnet_lite0_thin_photos   # what it grows from
    KERAS_BACKEND=tensorflow python -m keras_moe.recipes hydranet_photos [--publish]

The stem is the backbone's first three stages with ImageNet's weights; each of four branches starts as the thinned
network's tail, and they learn in the second round of ``keras_moe.recipes.shared.photos``. Then the dynamic-k threshold
is set for a budget of 60 % of the dense network's MACs on photographs that were held out.
"""

import pathlib
import typing

from keras_moe.datasets import PHOTOS, photos
from keras_moe.images import resized
from keras_moe.models import HydraNet
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.recipes.shared.photo_features import held_out
from keras_moe.recipes.shared.photos import CONFIG as DENSE_CONFIG
from keras_moe.recipes.shared.photos import (
    DENSE,
    MIXTURE,
    SECOND_NOTE,
    THIN,
    measure_on_photos,
    published_dense,
    second_round,
    thin,
    with_seed,
)
from keras_moe.training import fit_drop_below

SHARE = 0.6
CONFIG: Config = {**DENSE_CONFIG, "split_at": 3, "num_experts": 4, "branch_blocks": 1, "top_k": 2}


def train(model: HydraNet, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    history = second_round(model, thin(folder.parents[1], seed), with_seed(MIXTURE, seed, epochs), folder)
    images = resized(photos("train")[0][held_out()], model.input_shape[1])
    fit_drop_below(model, images, SHARE * published_dense().macs_total)
    return history


RECIPE = ModelRecipe(
    name="hydranet_photos",
    summary="HydraNet on photographs of 203 everyday things: a stem and 4 branches, of which one or two run. It is not "
    "better than a thinned dense network of its cost.",
    paper="Mullapudi, Mark, Shazeer, Fatahalian: HydraNets, CVPR 2018, pp. 8080-8089",
    paper_url="https://openaccess.thecvf.com/CVPR2018",
    model=HydraNet,
    recipe_note=f"The stem keeps its ImageNet weights. Branches grown from {THIN} and a gate, taught by groups of "
    f"classes that look alike to the stem, learn for {MIXTURE.epochs} epochs, a cosine from 2.5e-4: {SECOND_NOTE}.",
    config=CONFIG,
    baseline=DENSE,
    dataset=PHOTOS,
    measure=measure_on_photos,
    train=train,
    epochs=MIXTURE.epochs,
)
