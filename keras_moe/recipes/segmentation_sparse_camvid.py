"""segmentation_sparse_camvid: the experts of segmentation_camvid, of which an image runs one, or both in doubt.

    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes segmentation_camvid        # the experts
    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes segmentation_sparse_camvid [--publish]

The gate sees the image shrunk to a quarter before any expert has run. With the experts frozen it learns for 8 epochs
from the masks, both experts weighed softly, and from the domain of each image. In use the second expert runs where its
weight is at least 0.4: only where the gate can hardly decide. The report of segmentation_camvid has the whole curve.
"""

import dataclasses
import functools
import pathlib
import typing

from keras_moe.datasets import camvid
from keras_moe.models import SegmentationMoE
from keras_moe.recipes import segmentation_camvid
from keras_moe.recipes.publishing.recipe import Config
from keras_moe.training import train_domain_experts, train_segmentation

CONFIG: Config = {
    **segmentation_camvid.BASE_CONFIG,
    "num_experts": 2,
    "gate_kind": "image",
    "sparse": True,
    "drop_below": 0.4,
}


def train(model: SegmentationMoE, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    images, masks, domains = camvid("train")
    runs = pathlib.Path(folder).parents[1]
    start = functools.partial(segmentation_camvid.load_base, runs, seed)
    recipe = segmentation_camvid.expert_recipe(segmentation_camvid.RECIPE.epochs, seed)
    trained = runs / segmentation_camvid.RECIPE.name / f"seed{seed}"
    experts, history = train_domain_experts(start, (images, masks), domains, trained, recipe)
    gate = segmentation_camvid.gate_recipe(seed, epochs)
    return history | train_segmentation(model, experts, (images, masks), pathlib.Path(folder, "gate"), gate, domains)


RECIPE = dataclasses.replace(
    segmentation_camvid.RECIPE,
    name="segmentation_sparse_camvid",
    summary="A day expert or a dusk expert on CamVid, chosen before either runs; both if in doubt. Accuracy against "
    "MACs: zoo/segmentation_camvid/report.md.",
    recipe_note="The experts of segmentation_camvid and an early gate of 8 epochs, by AdamW at batch 8; two CPU cores, "
    "TensorFlow.",
    config=CONFIG,
    train=train,
    epochs=segmentation_camvid.GATE_EPOCHS,
)
