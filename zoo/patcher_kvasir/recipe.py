"""patcher_kvasir: a tiny Patcher that finds polyps on endoscopies of 256x256 pixels.

    KERAS_MOE_DATA=<folder> python zoo/patcher_kvasir/recipe.py [--publish]

From random weights: 15 epochs of AdamW at batch 8 on the 798 training images, a cosine from 1e-3, the structure loss,
flips and windows of 2/3 to 1 of either side. The paper trains a network 140 times this size for 500 epochs: these
figures are not to be compared with its own. ``unet_kvasir`` has the same recipe and the same MACs. ``ablation.py``
trains the same network with its scales added up instead of weighed.
"""

import pathlib

from keras_moe.datasets import kvasir
from keras_moe.models import Patcher
from keras_moe.training import Recipe, StructureLoss, run_stages, segmentation_stage
from keras_moe.zoo.publish import main
from keras_moe.zoo.trained_on import on_kvasir

CONFIG = {"input_shape": (256, 256, 3), "size": "tiny", "classes": 2}


def build(**changes):
    return Patcher(**CONFIG, **changes, classifier_activation=None)


def train(model, seed, folder, epochs):
    recipe = Recipe(epochs, batch_size=8, learning_rate=1e-3, warmup=1, seed=seed)
    return run_stages(model, [segmentation_stage(model, recipe, kvasir("train"), loss=StructureLoss())], folder)


MODEL = on_kvasir(
    name="patcher_kvasir",
    card={
        "system": "patcher",
        "summary": "Tiny Patcher for polyps: every pixel weighs the scales of one encoder. All scales are computed; it "
        "saves no compute.",
        "paper": "Ou, Yuan, Huang, Wong, Volpi, Wang, Wong: Patcher: Patch Transformers with Mixture of Experts for "
        "Precise Medical Image Segmentation, MICCAI 2022",
        "paper_url": "https://arxiv.org/abs/2206.01741",
        "model": "Patcher",
        "recipe_note": "15 epochs of AdamW at batch 8, a cosine from 1e-3, structure loss; two CPU cores, TensorFlow.",
        "config": CONFIG,
        "baseline": "unet_kvasir",
    },
    build=build,
    train=train,
    epochs=15,
)

if __name__ == "__main__":
    main(MODEL, pathlib.Path(__file__).parent)
