"""test_patcher: a tiny Patcher on handwritten digits in scenes, for tests without a network.

    python -m keras_moe.recipes test_patcher --publish

Two scales on canvases of 16x16 pixels. Trained on 419 scenes, measured on 118. A minute on two CPU cores.
"""

import pathlib
import typing

from keras_moe.datasets import DIGIT_SCENES, digit_scenes
from keras_moe.models import Patcher
from keras_moe.recipes.publishing.measures import measure_on_digit_scenes
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.training import Recipe, run_stages, segmentation_stage

SIZE: Config = {
    "filters": (12, 24), "depths": (1, 1), "heads": (1, 2), "reductions": (2, 1), "patches": (8, 8), "contexts": (2, 2),
    "strides": (2, 2), "mlp_ratio": 2, "decoder_filters": 12,
}  # fmt: skip
CONFIG: Config = {"input_shape": (16, 16, 1), "size": SIZE, "classes": 4}


def train(model: Patcher, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    images, masks, _ = digit_scenes()[0]
    recipe = Recipe(epochs, batch_size=30, augment=False, seed=seed)
    return run_stages(model, [segmentation_stage(model, recipe, (images, masks))], folder)


RECIPE = ModelRecipe(
    name="test_patcher",
    summary="Tiny Patcher on digits, for tests without a network.",
    paper="Ou et al.: Patcher: Patch Transformers with Mixture of Experts for Precise Medical Image "
    "Segmentation, MICCAI 2022",
    paper_url="https://arxiv.org/abs/2206.01741",
    model=Patcher,
    recipe_note="40 epochs of AdamW at batch 30, a cosine from 3e-3; a CPU minute.",
    config=CONFIG,
    dataset=DIGIT_SCENES,
    measure=measure_on_digit_scenes,
    train=train,
    epochs=40,
)
