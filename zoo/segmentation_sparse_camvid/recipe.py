"""segmentation_sparse_camvid: the experts of segmentation_camvid, of which an image runs one, or both in doubt.

    KERAS_MOE_DATA=<folder> python zoo/segmentation_camvid/recipe.py        # the experts
    KERAS_MOE_DATA=<folder> python zoo/segmentation_sparse_camvid/recipe.py [--publish]

The gate sees the image shrunk to a quarter before any expert has run. With the experts frozen it learns for 8 epochs
from the masks, both experts weighed softly, and from the domain of each image. In use the second expert runs where its
weight is at least 0.4: only where the gate can hardly decide. The report of segmentation_camvid has the whole curve.
"""

import functools
import pathlib
import runpy

from keras_moe.datasets import camvid
from keras_moe.models import SegmentationMoE
from keras_moe.training import train_domain_experts, train_segmentation
from keras_moe.zoo.publish import main
from keras_moe.zoo.trained_on import on_camvid

EXPERTS = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "segmentation_camvid" / "recipe.py"))
CONFIG = {**EXPERTS["BASE_CONFIG"], "num_experts": 2, "gate_kind": "image", "sparse": True, "drop_below": 0.4}


def build():
    return SegmentationMoE(**CONFIG, classifier_activation=None)


def train(model, seed, folder, epochs):
    images, masks, domains = camvid("train")
    runs = pathlib.Path(folder).parents[1]
    start = functools.partial(EXPERTS["load_base"], runs, seed)
    recipe = EXPERTS["expert_recipe"](EXPERTS["MODEL"].epochs, seed)
    trained = runs / EXPERTS["MODEL"].name / f"seed{seed}"
    experts, history = train_domain_experts(start, (images, masks), domains, trained, recipe)
    gate = EXPERTS["gate_recipe"](seed, epochs)
    return history | train_segmentation(model, experts, (images, masks), pathlib.Path(folder, "gate"), gate, domains)


MODEL = on_camvid(
    name="segmentation_sparse_camvid",
    card={
        **{k: EXPERTS["MODEL"].card[k] for k in ("system", "model", "paper", "paper_url", "baseline")},
        "summary": "A day expert or a dusk expert on CamVid, chosen before either runs; both if in doubt. Accuracy "
        "against MACs: zoo/segmentation_camvid/report.md.",
        "recipe_note": "The experts of segmentation_camvid and an early gate of 8 epochs, by AdamW at batch 8; two CPU "
        "cores, TensorFlow.",
        "config": CONFIG,
    },
    build=build,
    train=train,
    epochs=EXPERTS["GATE_EPOCHS"],
)

if __name__ == "__main__":
    main(MODEL, pathlib.Path(__file__).parent)
