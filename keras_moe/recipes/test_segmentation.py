"""test_segmentation: a tiny sparse mixture of two segmentation experts on digits, for tests without a network.

    python -m keras_moe.recipes test_segmentation --publish

White digits on black are one domain, black ones on white the other; one expert learns each, and the gate, which looks
at the shrunken image, learns which. The second expert runs where its weight is at least 0.2. Trained on 419 scenes,
measured on 118. A minute on two CPU cores.
"""

import pathlib
import typing

from keras_moe.datasets import DIGIT_SCENES, digit_scenes
from keras_moe.models import SegmentationMoE, Segmenter
from keras_moe.recipes.publishing.measures import measure_on_digit_scenes
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.training import Recipe, train_domain_experts, train_segmentation

EXPERT: Config = {"input_shape": (16, 16, 1), "alpha": 0.25, "backbone": "resnet8", "classes": 4}
CONFIG: Config = {**EXPERT, "num_experts": 2, "gate_kind": "image", "sparse": True, "drop_below": 0.2}


def train(model: SegmentationMoE, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    images, masks, domains = digit_scenes()[0]
    recipe = Recipe(epochs, batch_size=30, augment=False, seed=seed)
    experts, history = train_domain_experts(
        lambda: Segmenter(**EXPERT, classifier_activation=None), (images, masks), domains, folder, recipe
    )
    gate = Recipe(4, batch_size=30, augment=False, seed=seed)
    return history | train_segmentation(model, experts, (images, masks), pathlib.Path(folder, "gate"), gate, domains)


RECIPE = ModelRecipe(
    name="test_segmentation",
    summary="Tiny sparse mixture of two segmentation experts on dark and bright digits, for tests without a network.",
    paper="Pavlitskaya et al.: Using Mixture of Expert Models to Gain Insights into Semantic Segmentation, "
    "SAIAD at CVPR 2020; the sparse form is ours",
    paper_url="https://openaccess.thecvf.com/CVPR2020_workshops/CVPR2020_w20",
    model=SegmentationMoE,
    recipe_note="80 epochs of AdamW at batch 30, a cosine from 3e-3, then 4 of the gate; a CPU minute.",
    config=CONFIG,
    dataset=DIGIT_SCENES,
    measure=measure_on_digit_scenes,
    train=train,
    epochs=80,
)
