"""test_patcher: a tiny Patcher on handwritten digits in scenes, for tests without a network.

    python zoo/test_patcher/recipe.py --publish

Two scales on canvases of 16x16 pixels. Trained on 419 scenes, measured on 118. A minute on two CPU cores.
"""

import pathlib

from keras_moe.datasets import digit_scenes
from keras_moe.models import Patcher
from keras_moe.training import Recipe, run_stages, segmentation_stage
from keras_moe.zoo.publish import main
from keras_moe.zoo.trained_on import on_digit_scenes

SIZE = {
    "filters": (12, 24), "depths": (1, 1), "heads": (1, 2), "reductions": (2, 1), "patches": (8, 8), "contexts": (2, 2),
    "strides": (2, 2), "mlp_ratio": 2, "decoder_filters": 12,
}  # fmt: skip
CONFIG = {"input_shape": (16, 16, 1), "size": SIZE, "classes": 4}


def train(model, seed, folder, epochs):
    images, masks, _ = digit_scenes()[0]
    recipe = Recipe(epochs, batch_size=30, augment=False, seed=seed)
    return run_stages(model, [segmentation_stage(model, recipe, (images, masks))], folder)


MODEL = on_digit_scenes(
    name="test_patcher",
    card={
        "system": "patcher",
        "summary": "Tiny Patcher on digits, for tests without a network.",
        "paper": "Ou et al.: Patcher: Patch Transformers with Mixture of Experts for Precise Medical Image "
        "Segmentation, MICCAI 2022",
        "paper_url": "https://arxiv.org/abs/2206.01741",
        "model": "Patcher",
        "recipe_note": "40 epochs of AdamW at batch 30, a cosine from 3e-3; a CPU minute.",
        "config": CONFIG,
    },
    build=lambda: Patcher(**CONFIG, classifier_activation=None),
    train=train,
    epochs=40,
)

if __name__ == "__main__":
    main(MODEL, pathlib.Path(__file__).parent)
