"""segmentation_lite0_camvid: a day expert and a dusk expert on EfficientNet-Lite0, weighed class by class.

    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes deeplab_lite0_camvid       # the network that both start from
    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes segmentation_lite0_camvid [--publish]

The stages of ``segmentation_camvid`` at 240x320. Settings: ``keras_moe.recipes.shared.camvid``.
"""

import dataclasses

from keras_moe.recipes import segmentation_camvid
from keras_moe.recipes.publishing.recipe import Config
from keras_moe.recipes.shared.camvid import LITE0

CONFIG: Config = {**LITE0.config, "num_experts": 2, "gate_kind": "class", "conv": True}

RECIPE = dataclasses.replace(
    segmentation_camvid.RECIPE,
    name="segmentation_lite0_camvid",
    summary="Day and dusk experts on CamVid at 240x320, weighed per class: both run for every image, which saves no "
    "compute.",
    recipe_note=f"A trained base, two experts of as many images as {LITE0.expert.epochs} epochs of everything each, a "
    f"gate of {LITE0.gate.epochs} epochs, by AdamW at batch 8, cosines from 1e-3; two CPU cores, TensorFlow.",
    config=CONFIG,
    baseline=LITE0.dense,
    dataset=LITE0.dataset,
    train=LITE0.train_mixture,
    epochs=LITE0.expert.epochs,
)
