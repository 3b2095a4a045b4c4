"""The recipes of segmentation on scenes of a few pixels: every stage runs, and goes on from what lies there."""

import dataclasses

import numpy as np
import pytest

from keras_moe import recipes, weights
from keras_moe.models import SegmentationMoE, Segmenter
from keras_moe.recipes import patcher_lite0_kvasir
from keras_moe.recipes.shared import camvid
from keras_moe.training import MaskViews, Recipe

pytestmark = pytest.mark.once

ONE = Recipe(1, batch_size=4, backbone_rate=0.5, mask_views=MaskViews(recolor=0.5))
TINY = camvid.CamvidNetworks(
    dense="dense",
    mixture="mixture",
    config={"input_shape": (16, 16, 3), "alpha": 0.25, "backbone": "resnet8", "classes": 3},
    base=ONE,
    expert=ONE,
    gate=dataclasses.replace(ONE, backbone_rate=1.0),
)


def _scenes(split, size):
    assert (split, size) == ("train", (16, 16))
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3)).astype("uint8")
    return images, (images[..., 0] // 100).astype("uint8"), np.arange(10) % 2


def test_from_the_dense_network_to_both_mixtures(tmp_path, monkeypatch):
    monkeypatch.setattr(camvid, "camvid", _scenes)
    with pytest.raises(FileNotFoundError, match="recipes dense --seeds 3"):
        TINY.load_base(tmp_path, 3)
    logits = {**TINY.config, "classifier_activation": None}
    runs = tmp_path
    dense, folder = Segmenter(**logits), runs / "dense" / "seed3"
    assert list(TINY.train_dense(dense, 3, folder, 1)) == ["segment"]
    weights.save_weights(dense, folder / "weights.safetensors")

    mixture = SegmentationMoE(**logits, gate_kind="class", conv=True)
    history = TINY.train_mixture(mixture, 3, runs / "mixture" / "seed3", 1)
    assert {stage: len(logs) for stage, logs in history.items()} == {"expert_0": 2, "expert_1": 2, "gate": 1}
    experts, again = TINY.train_experts(runs, 3, 1)  # they lie there: nothing is trained
    assert again["expert_0"] == history["expert_0"]
    images = _scenes("train", (16, 16))[0].astype("float32")
    alone = mixture.expert_outputs().predict(images, verbose=0)["experts"]
    np.testing.assert_allclose(alone[:, 1], experts[1].predict(images, verbose=0), atol=1e-4)

    sparse = SegmentationMoE(**logits, sparse=True)
    history = TINY.train_sparse(sparse, 3, runs / "sparse" / "seed3", 1)
    assert list(history) == ["expert_0", "expert_1", "gate"]
    assert "gate_logits_loss" in history["gate"][0]  # the domains teach this gate


def test_a_card_names_the_size_of_its_images():
    assert recipes.load_recipe("deeplab_camvid").dataset.data.name == "CamVid, 11 classes, 120x160"
    assert recipes.load_recipe("segmentation_sparse_lite0_camvid").dataset.data.name == "CamVid, 11 classes, 240x320"


def test_one_training_for_the_three_decoders_on_lite0():
    patcher, unet = (recipes.load_recipe(f"{name}_lite0_kvasir") for name in ("patcher", "unet"))
    assert patcher.train is unet.train is patcher_lite0_kvasir.train
    assert patcher.build_options == unet.build_options == {"classifier_activation": None, "weights": "imagenet"}
    assert (patcher.epochs, unet.epochs) == (patcher_lite0_kvasir.SETTINGS.epochs,) * 2
