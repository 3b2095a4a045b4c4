"""unet_kvasir: the dense baseline of patcher_kvasir, a U-Net of the same MACs by the same recipe.

    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes unet_kvasir [--publish]

Its first two convolutions work at the full 256x256, so that equal MACs leave it few filters.
"""

from keras_moe.datasets import KVASIR
from keras_moe.models import UNet
from keras_moe.recipes import patcher_kvasir
from keras_moe.recipes.publishing.measures import measure_on_kvasir
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe

CONFIG: Config = {"input_shape": (256, 256, 3), "filters": (5, 10, 21, 42, 84), "classes": 2}

RECIPE = ModelRecipe(
    name="unet_kvasir",
    summary="U-Net for polyps, of the MACs of patcher_kvasir.",
    paper="Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015",
    paper_url="https://arxiv.org/abs/1505.04597",
    model=UNet,
    recipe_note="15 epochs of AdamW at batch 8, a cosine from 1e-3, structure loss; two CPU cores, TensorFlow.",
    config=CONFIG,
    dataset=KVASIR,
    measure=measure_on_kvasir,
    train=patcher_kvasir.train,
    epochs=15,
)
