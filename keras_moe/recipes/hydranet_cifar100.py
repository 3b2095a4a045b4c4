"""hydranet_cifar100: a HydraNet on CIFAR-100 that executes less than half of a ResNet-20's MACs.

    python -m keras_moe.recipes hydranet_cifar100 [--seeds 0 1] [--publish]

Three stages:

1. *trunk*: stem, one branch and combiner, a small dense network, by the whole recipe of the dense baseline
   ``resnet20_cifar100``: 40 epochs of ``keras_moe.training.Recipe`` with its defaults. The means of its logits over
   each class are clustered into 8 groups of similar classes.
2. *joint*: 8 branches start as copies of the one, the gate is supervised with the groups (cross-entropy, weight 0.5),
   and everything learns by that recipe again with two branches per image. Then the dynamic-k threshold is set on
   training images so that the mean cost is 49 % of the baseline's.
3. *taught*: 8 branches learn the training images too well, so for 14 epochs everything learns from soft labels, 0.8 of
   the mean prediction of three published networks and 0.2 of the label, routed as in use; the final weights are
   0.7 of those at the end of this stage and 0.3 of those at its start (Wortsman et al., Robust fine-tuning of zero-shot
   models, CVPR 2022). The threshold is set anew.

Stages 1 and 2 are meant for a GPU, where they take minutes. The gain of each stage, and the alternatives tried where
the paper is silent, are in ``alternatives.md``.
"""

import functools
import pathlib
import typing

import numpy as np

from keras_moe import zoo
from keras_moe.datasets import CIFAR100, cifar100
from keras_moe.models import Classifier, HydraNet
from keras_moe.recipes.publishing.measures import measure_on_cifar100
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.training import (
    Recipe,
    classification_stage,
    distillation_targets,
    fit_drop_below,
    partition_classes,
    run_stages,
)

CONFIG: Config = {
    "input_shape": (32, 32, 3),
    "alpha": 1.0,
    "backbone": "resnet8",
    "num_experts": 8,
    "top_k": 2,
    "branch_alpha": 1.5,
    "gate_filters": 32,
    "classes": 100,
}
SINGLE: Config = {**CONFIG, "num_experts": 1, "top_k": 1, "gate_filters": 0}
SHARE = 0.49
TEACHERS = ("resnet20_cifar100", "resnet26_cifar100", "single_gated_cifar100")
TAUGHT_EPOCHS, KEPT = 14, 0.3

Pair = tuple[np.ndarray, np.ndarray]


def train(model: HydraNet, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    learn, test = cifar100()
    recipe = Recipe(epochs, seed=seed)
    single = HydraNet(**SINGLE, classifier_activation=None, name="trunk")
    trunk = run_stages(single, [classification_stage(single, recipe, learn, test, name="trunk")], folder / "trunk")
    groups = partition_classes(single.predict(learn[0], batch_size=500, verbose=0), learn[1], CONFIG["num_experts"])
    model.init_from_single_branch(single)
    joint = run_stages(model, [classification_stage(model, recipe, learn, test, groups)], folder / "joint")
    fit_budget(model, learn[0])
    taught = _teach(model, Recipe(TAUGHT_EPOCHS, learning_rate=2e-3, seed=seed + 100), learn, test, groups, folder)
    fit_budget(model, learn[0])
    return {**trunk, **joint, **taught, "groups": groups.tolist()}


def _teach(
    model: HydraNet, recipe: Recipe, learn: Pair, test: Pair, groups: np.ndarray, folder: pathlib.Path
) -> dict[str, typing.Any]:
    before = model.get_weights()
    stage = classification_stage(model, recipe, learn, test, groups, name="taught", soft_targets=_teacher_targets())
    history = run_stages(model, [stage], folder / "taught")
    pairs = zip(before, model.get_weights(), strict=True)
    model.set_weights([KEPT * old + (1 - KEPT) * new for old, new in pairs])
    return history


@functools.cache
def _teacher_targets() -> np.ndarray:
    """The soft labels, the same for every seed."""
    return distillation_targets([zoo.load(name) for name in TEACHERS], *cifar100()[0])


def fit_budget(model: HydraNet, images: np.ndarray) -> None:
    """Sets the threshold for the share of the baseline's MACs."""
    fit_drop_below(model, images[:10000], SHARE * Classifier(backbone="resnet20").macs_total)


RECIPE = ModelRecipe(
    name="hydranet_cifar100",
    summary="HydraNet on CIFAR-100: a shared stem and 8 branches, of which an image runs one or two.",
    paper="Mullapudi, Mark, Shazeer, Fatahalian: HydraNets, CVPR 2018, pp. 8080-8089",
    paper_url="https://openaccess.thecvf.com/CVPR2018",
    model=HydraNet,
    recipe_note="A trunk, then 8 branches grown from it: 40 epochs each of AdamW at batch 128, a cosine from "
    f"3e-3, JAX on one GPU; then {TAUGHT_EPOCHS} epochs from 2e-3 on soft labels of resnet20, resnet26 and "
    f"single_gated, TensorFlow on two CPU cores, and {KEPT} of the weights before.",
    config=CONFIG,
    baseline="resnet20_cifar100",
    dataset=CIFAR100,
    measure=measure_on_cifar100,
    train=train,
    epochs=40,
    seeds=(0, 1),
)
