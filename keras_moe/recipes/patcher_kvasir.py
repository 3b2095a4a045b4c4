"""patcher_kvasir: a tiny Patcher that finds polyps on endoscopies of 256x256 pixels.

    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes patcher_kvasir [--publish]

From random weights: 15 epochs of AdamW at batch 8 on the 798 training images, a cosine from 1e-3, the structure loss,
flips and windows of 2/3 to 1 of either side. The paper trains a network 140 times this size for 500 epochs: these
figures are not to be compared with its own. ``unet_kvasir`` has the same recipe and the same MACs.
``benchmarks/patcher_ablation.py`` trains the same network with its scales added up instead of weighed.
"""

import pathlib
import typing

from keras_moe.datasets import KVASIR, kvasir
from keras_moe.models import MoEModel, Patcher
from keras_moe.recipes.publishing.measures import measure_on_kvasir
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.training import Recipe, StructureLoss, run_stages, segmentation_stage

CONFIG: Config = {"input_shape": (256, 256, 3), "size": "tiny", "classes": 2}


def train(model: MoEModel, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    recipe = Recipe(epochs, batch_size=8, learning_rate=1e-3, warmup=1, seed=seed)
    return run_stages(model, [segmentation_stage(model, recipe, kvasir("train"), loss=StructureLoss())], folder)


RECIPE = ModelRecipe(
    name="patcher_kvasir",
    summary="Tiny Patcher for polyps: every pixel weighs the scales of one encoder. All scales are computed; it "
    "saves no compute.",
    paper="Ou, Yuan, Huang, Wong, Volpi, Wang, Wong: Patcher: Patch Transformers with Mixture of Experts for "
    "Precise Medical Image Segmentation, MICCAI 2022",
    paper_url="https://arxiv.org/abs/2206.01741",
    model=Patcher,
    recipe_note="15 epochs of AdamW at batch 8, a cosine from 1e-3, structure loss; two CPU cores, TensorFlow.",
    config=CONFIG,
    baseline="unet_kvasir",
    dataset=KVASIR,
    measure=measure_on_kvasir,
    train=train,
    epochs=15,
)
