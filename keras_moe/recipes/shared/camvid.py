"""Training shared by the recipes on CamVid: a dense network, experts that start from it, their gates.

Experts learn on their own domain alone, each as long as so many epochs of all images. Then they are frozen, and the
gate learns from all images.
"""

import dataclasses
import functools
import os
import pathlib
import typing

from keras_moe.datasets import CAMVID, Dataset, camvid
from keras_moe.models import MoEModel, SegmentationMoE, Segmenter
from keras_moe.recipes.publishing.recipe import Config
from keras_moe.recipes.shared.trained import trained_weights
from keras_moe.training import (
    MaskViews,
    Recipe,
    run_stages,
    segmentation_stage,
    train_domain_experts,
    train_segmentation,
)

History = dict[str, typing.Any]
Runs = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CamvidNetworks:
    """A dense network, the mixture whose experts start from it, and how they are trained.

    Args:
        dense, mixture: names of their recipes.
        config: of the dense network and of each expert.
        base, expert, gate: ``Recipe`` of the dense network, of each expert and of a gate.
    """

    dense: str
    mixture: str
    config: Config
    base: Recipe
    expert: Recipe
    gate: Recipe

    @property
    def dataset(self) -> Dataset:
        """CamVid at the size of the networks."""
        height, width = self.config["input_shape"][:2]
        data = dataclasses.replace(CAMVID.data, name=f"CamVid, 11 classes, {height}x{width}")
        return dataclasses.replace(CAMVID, data=data)

    def train_dense(self, model: MoEModel, seed: int, folder: pathlib.Path, epochs: int) -> History:
        images, masks, _ = self._train()
        return run_stages(model, [segmentation_stage(model, _with(self.base, seed, epochs), (images, masks))], folder)

    def load_base(self, runs: Runs, seed: int) -> Segmenter:
        """The dense network as its recipe leaves it in ``runs``."""
        path = trained_weights(runs, self.dense, seed)
        return Segmenter(**self.config, classifier_activation=None, weights=path)

    def train_experts(self, runs: Runs, seed: int, epochs: int) -> tuple[list[MoEModel], History]:
        """The day expert and the dusk expert, trained in the folder of the mixture or loaded from there."""
        images, masks, domains = self._train()
        start = functools.partial(self.load_base, runs, seed)
        folder = pathlib.Path(runs, self.mixture, f"seed{seed}")
        return train_domain_experts(start, (images, masks), domains, folder, _with(self.expert, seed, epochs))

    def train_mixture(self, model: SegmentationMoE, seed: int, folder: pathlib.Path, epochs: int) -> History:
        """``epochs`` are those of each expert."""
        experts, history = self.train_experts(folder.parents[1], seed, epochs)
        images, masks, _ = self._train()
        gate = _with(self.gate, seed, self.gate.epochs)
        return history | train_segmentation(model, experts, (images, masks), folder / "gate", gate)

    def train_sparse(self, model: SegmentationMoE, seed: int, folder: pathlib.Path, epochs: int) -> History:
        """``epochs`` are those of the gate, which learns from the domain of each image too."""
        experts, history = self.train_experts(folder.parents[1], seed, self.expert.epochs)
        images, masks, domains = self._train()
        gate = _with(self.gate, seed, epochs)
        return history | train_segmentation(model, experts, (images, masks), folder / "gate", gate, domains)

    def _train(self) -> tuple[typing.Any, ...]:
        return camvid("train", self.config["input_shape"][:2])


def _with(recipe: Recipe, seed: int, epochs: int) -> Recipe:
    return dataclasses.replace(recipe, seed=seed, epochs=epochs)


SMALL = CamvidNetworks(
    dense="deeplab_camvid",
    mixture="segmentation_camvid",
    config={"input_shape": (120, 160, 3), "alpha": 1.0, "backbone": "resnet14", "classes": 11},
    base=Recipe(70, batch_size=8, learning_rate=2e-3, warmup=1),
    expert=Recipe(20, batch_size=8, learning_rate=1e-3, warmup=1),
    gate=Recipe(8, batch_size=8, learning_rate=1e-3, warmup=1),
)
"""From random weights, at a third of the resolution."""

_VIEWS = MaskViews(zoom=1.6, recolor=0.4)

LITE0 = CamvidNetworks(
    dense="deeplab_lite0_camvid",
    mixture="segmentation_lite0_camvid",
    config={"input_shape": (240, 320, 3), "alpha": 1.0, "backbone": "efficientnet_lite0", "classes": 11},
    base=Recipe(36, batch_size=8, learning_rate=3e-3, warmup=1, backbone_rate=0.2, mask_views=_VIEWS),
    expert=Recipe(14, batch_size=8, learning_rate=1e-3, warmup=1, backbone_rate=0.2, mask_views=_VIEWS),
    gate=Recipe(4, batch_size=8, learning_rate=1e-3, warmup=1),  # in true colours, which tell dusk from day
)
"""An encoder with ImageNet's weights, at two thirds of the resolution."""
