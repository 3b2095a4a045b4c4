"""segmentation_sparse_lite0_camvid: the experts of segmentation_lite0_camvid, of which an image runs one, or both.

    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes segmentation_lite0_camvid        # the experts
    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes segmentation_sparse_lite0_camvid [--publish]

As ``segmentation_sparse_camvid``: the gate sees the image shrunk to a quarter before any expert has run.
"""

import dataclasses

from keras_moe.recipes import segmentation_lite0_camvid
from keras_moe.recipes.publishing.recipe import Config
from keras_moe.recipes.shared.camvid import LITE0

CONFIG: Config = {**LITE0.config, "num_experts": 2, "gate_kind": "image", "sparse": True, "drop_below": 0.4}

RECIPE = dataclasses.replace(
    segmentation_lite0_camvid.RECIPE,
    name="segmentation_sparse_lite0_camvid",
    summary="A day expert or a dusk expert on CamVid at 240x320, chosen before either runs; both if in doubt.",
    recipe_note=f"The experts of segmentation_lite0_camvid and an early gate of {LITE0.gate.epochs} epochs, by AdamW "
    "at batch 8; two CPU cores, TensorFlow.",
    config=CONFIG,
    train=LITE0.train_sparse,
    epochs=LITE0.gate.epochs,
)
