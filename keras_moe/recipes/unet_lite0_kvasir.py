"""unet_lite0_kvasir: a U-Net decoder on the encoder of patcher_lite0_kvasir, by its recipe.

    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes unet_lite0_kvasir [--publish]

The decoder has the MACs of Patcher's. Not published: its weights are as large as the Patcher's. Needs the extra
``imagenet``.
"""

import dataclasses

from keras_moe.recipes import patcher_lite0_kvasir, unet_kvasir
from keras_moe.recipes.publishing.recipe import Config

CONFIG: Config = {**patcher_lite0_kvasir.CONFIG, "filters": (24, 32, 64)}

RECIPE = dataclasses.replace(
    unet_kvasir.RECIPE,
    name="unet_lite0_kvasir",
    summary="U-Net decoder on EfficientNet-Lite0 for polyps, of the MACs of patcher_lite0_kvasir.",
    recipe_note=patcher_lite0_kvasir.RECIPE.recipe_note,
    config=CONFIG,
    train=patcher_lite0_kvasir.train,
    epochs=patcher_lite0_kvasir.SETTINGS.epochs,
    build_options=patcher_lite0_kvasir.RECIPE.build_options,
)
