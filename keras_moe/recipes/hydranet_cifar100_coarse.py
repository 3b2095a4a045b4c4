"""hydranet_cifar100_coarse: a HydraNet whose int8 parts fit a microcontroller of 512 KB flash and 256 KB RAM.

    python -m keras_moe.recipes hydranet_cifar100_coarse [--publish]

Three rounds, as the dense baseline has: the trunk, a network of one branch; then, twice, 5 branches, copies of that
one, whose gate is supervised with 5 groups of similar classes. Then the dynamic-k threshold is set on training images
for the mean multiply-accumulates of the baseline. ``python -m benchmarks.edge_networks`` has the sizes
from which it was chosen.
"""

import pathlib
import typing

from keras_moe.datasets import CIFAR100_COARSE, cifar100
from keras_moe.models import Classifier, HydraNet
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.recipes.resnet8_cifar100_coarse import RECIPE as BASELINE
from keras_moe.recipes.shared.cifar100_coarse import CONFIG as COMMON
from keras_moe.recipes.shared.cifar100_coarse import DENSE, EPOCHS, NOTE, learn_round, measure_on_coarse
from keras_moe.training import fit_drop_below, partition_classes

CONFIG: Config = {**COMMON, "num_experts": 5, "top_k": 2, "gate_filters": 16}
SINGLE: Config = {**CONFIG, "num_experts": 1, "top_k": 1, "gate_filters": 0}


def train(model: HydraNet, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    images, labels = cifar100("coarse")[0]
    single = HydraNet(**SINGLE, classifier_activation=None, name="trunk")
    history = learn_round(single, seed, folder, epochs, "first")
    groups = partition_classes(single.predict(images, batch_size=500, verbose=0), labels, CONFIG["num_experts"])
    model.init_from_single_branch(single)
    for name in ("second", "third"):
        history |= learn_round(model, seed, folder, epochs, name, groups)
    fit_drop_below(model, images[:10000], Classifier(**BASELINE.config).macs_total)
    return {**history, "groups": groups.tolist()}


RECIPE = ModelRecipe(
    name="hydranet_cifar100_coarse",
    summary="HydraNet on the 20 coarse classes of CIFAR-100, for a microcontroller: a stem and 5 branches, of which an "
    "image runs one or two. It is hardly better than a dense network of its cycles.",
    paper="Mullapudi, Mark, Shazeer, Fatahalian: HydraNets, CVPR 2018, pp. 8080-8089",
    paper_url="https://openaccess.thecvf.com/CVPR2018",
    model=HydraNet,
    recipe_note=f"A trunk, then 5 branches grown from it. {NOTE}",
    config=CONFIG,
    baseline=DENSE,
    dataset=CIFAR100_COARSE,
    measure=measure_on_coarse,
    train=train,
    epochs=EPOCHS,
)
