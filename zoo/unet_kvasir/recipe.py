"""unet_kvasir: the dense baseline of patcher_kvasir, a U-Net of the same MACs by the same recipe.

    KERAS_MOE_DATA=<folder> python zoo/unet_kvasir/recipe.py [--publish]

Its first two convolutions work at the full 256x256, so that equal MACs leave it few filters.
"""

import pathlib
import runpy

from keras_moe.models import UNet
from keras_moe.zoo.publish import main
from keras_moe.zoo.trained_on import on_kvasir

HERE = pathlib.Path(__file__).parent
CONFIG = {"input_shape": (256, 256, 3), "filters": (5, 10, 21, 42, 84), "classes": 2}

MODEL = on_kvasir(
    name="unet_kvasir",
    card={
        "system": "dense",
        "summary": "U-Net for polyps, of the MACs of patcher_kvasir.",
        "paper": "Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI "
        "2015",
        "paper_url": "https://arxiv.org/abs/1505.04597",
        "model": "UNet",
        "recipe_note": "15 epochs of AdamW at batch 8, a cosine from 1e-3, structure loss; two CPU cores, TensorFlow.",
        "config": CONFIG,
    },
    build=lambda: UNet(**CONFIG, classifier_activation=None),
    train=runpy.run_path(str(HERE.parent / "patcher_kvasir" / "recipe.py"))["train"],
    epochs=15,
)

if __name__ == "__main__":
    main(MODEL, HERE)
