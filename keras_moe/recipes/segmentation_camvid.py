"""segmentation_camvid: a day expert and a dusk expert for driving scenes, weighed class by class.

    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes deeplab_camvid        # the network that both start from
    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes segmentation_camvid [--publish]

Both experts start as ``deeplab_camvid`` of the same seed and learn on their own domain alone (305 images by day, 62 at
dusk), each as long as 20 epochs of all 367. Then they are frozen, and the gate per class and the 3x3 convolution learn
from all images for 8 epochs. The paper trains its experts from random weights:
``benchmarks/segmentation_report.py`` has both ways.
"""

import functools
import os
import pathlib
import typing

from keras_moe.datasets import CAMVID, camvid
from keras_moe.models import SegmentationMoE, Segmenter
from keras_moe.recipes.publishing.measures import measure_on_camvid
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.training import Recipe, train_domain_experts, train_segmentation

BASE = "deeplab_camvid"
BASE_CONFIG: Config = {"input_shape": (120, 160, 3), "alpha": 1.0, "backbone": "resnet14", "classes": 11}
CONFIG: Config = {**BASE_CONFIG, "num_experts": 2, "gate_kind": "class", "conv": True}
GATE_EPOCHS = 8


def load_base(runs: str | os.PathLike[str], seed: int) -> Segmenter:
    """The network trained on all domains, as the recipe ``deeplab_camvid`` leaves it in ``runs``."""
    path = pathlib.Path(runs, BASE, f"seed{seed}", "weights.safetensors")
    if not path.exists():
        raise FileNotFoundError(f"No base at {path}. Train it first: python -m keras_moe.recipes {BASE} --seeds {seed}")
    return Segmenter(**BASE_CONFIG, classifier_activation=None, weights=path)


def expert_recipe(epochs: int, seed: int) -> Recipe:
    """Settings of an expert's training."""
    return Recipe(epochs, batch_size=8, learning_rate=1e-3, warmup=1, seed=seed)


def gate_recipe(seed: int, epochs: int = GATE_EPOCHS) -> Recipe:
    """Settings of the gate's training."""
    return Recipe(epochs, batch_size=8, learning_rate=1e-3, warmup=1, seed=seed)


def train(model: SegmentationMoE, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    images, masks, domains = camvid("train")
    start = functools.partial(load_base, folder.parents[1], seed)
    experts, history = train_domain_experts(start, (images, masks), domains, folder, expert_recipe(epochs, seed))
    return history | train_segmentation(model, experts, (images, masks), folder / "gate", gate_recipe(seed))


RECIPE = ModelRecipe(
    name="segmentation_camvid",
    system="segmentation_moe",
    summary="Day and dusk experts on CamVid, weighed per class: both run for every image, which saves no "
    "compute. The sparse form, which does, is in report.md.",
    paper="Pavlitskaya, Hubschneider, Weber, Moritz, Hueger, Schlicht, Zoellner: Using Mixture of Expert Models "
    "to Gain Insights into Semantic Segmentation, SAIAD at CVPR 2020",
    paper_url="https://openaccess.thecvf.com/CVPR2020_workshops/CVPR2020_w20",
    model=SegmentationMoE,
    recipe_note="A trained base, two experts of as many images as 20 epochs of everything each, a gate of 8 "
    "epochs, by AdamW at batch 8, cosines from 1e-3; two CPU cores, TensorFlow.",
    config=CONFIG,
    baseline=BASE,
    dataset=CAMVID,
    measure=measure_on_camvid,
    train=train,
    epochs=20,
)
