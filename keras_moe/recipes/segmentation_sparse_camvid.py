"""segmentation_sparse_camvid: the experts of segmentation_camvid, of which an image runs one, or both in doubt.

    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes segmentation_camvid        # the experts
    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes segmentation_sparse_camvid [--publish]

The gate sees the image shrunk to a quarter before any expert has run. With the experts frozen it learns for 8 epochs
from the masks, both experts weighed softly, and from the domain of each image. In use the second expert runs where its
weight is at least 0.4: only where the gate can hardly decide. The report of segmentation_camvid has the whole curve.
"""

import dataclasses

from keras_moe.recipes import segmentation_camvid
from keras_moe.recipes.publishing.recipe import Config
from keras_moe.recipes.shared.camvid import SMALL

CONFIG: Config = {**SMALL.config, "num_experts": 2, "gate_kind": "image", "sparse": True, "drop_below": 0.4}

RECIPE = dataclasses.replace(
    segmentation_camvid.RECIPE,
    name="segmentation_sparse_camvid",
    summary="A day expert or a dusk expert on CamVid, chosen before either runs; both if in doubt. Accuracy against "
    "MACs: zoo/segmentation_camvid/report.md.",
    recipe_note="The experts of segmentation_camvid and an early gate of 8 epochs, by AdamW at batch 8; two CPU cores, "
    "TensorFlow.",
    config=CONFIG,
    train=SMALL.train_sparse,
    epochs=SMALL.gate.epochs,
)
