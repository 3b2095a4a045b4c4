"""hydranet_photos: a HydraNet on photographs of 203 classes, grown from EfficientNet-Lite0.

    KERAS_BACKEND=tensorflow python -m keras_moe.recipes hydranet_photos [--publish]

The stem is the backbone's first three stages; each of four branches has the first block of each later stage, the
blocks with a skip around them left out. The first round is the dense network's
(``keras_moe.recipes.shared.photos``); its class means are clustered into four groups, branches start as thinned copies
of its tail, and the second round trains them behind a gate that is supervised with the groups. Then the dynamic-k
threshold is set for a budget of 60 % of the dense network's MACs on photographs that were held out. Needs the extra
``imagenet``. Nothing is published from this recipe yet: the groups are so unequal that nearly every photograph
goes to one branch, and it falls behind the dense network.
"""

import pathlib
import typing

from keras_moe.datasets import PHOTOS, photos
from keras_moe.images import resized
from keras_moe.models import Classifier, HydraNet
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.recipes.shared.photo_features import CLASSES, held_out, photo_features, photo_labels
from keras_moe.recipes.shared.photos import (
    TAIL,
    first_round,
    measure_on_photos,
    second_round,
)
from keras_moe.training import fit_drop_below, partition_classes

SIZE, SHARE = 160, 0.6
CONFIG: Config = {
    "input_shape": (SIZE, SIZE, 3),
    "backbone": "efficientnet_lite0",
    "split_at": 3,
    "num_experts": 4,
    "branch_blocks": 1,
    "top_k": 2,
    "classes": CLASSES,
}


def train(model: HydraNet, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    first, history = first_round(seed, epochs)
    views, rest = photo_features(first)
    learned = ~held_out()
    logits = rest.predict(views[0][learned], batch_size=256, verbose=0)
    groups = partition_classes(logits, photo_labels()[learned], CONFIG["num_experts"])
    history |= second_round(model, first, folder, seed, epochs, groups)
    fit_budget(model)
    return {**history, "groups": groups.tolist()}


def fit_budget(model: HydraNet) -> None:
    """Sets the threshold for the share of the dense network's MACs."""
    dense = Classifier((160, 160, 3), backbone="efficientnet_lite0", classes=CLASSES)
    fit_drop_below(model, resized(photos("train")[0][held_out()], SIZE), SHARE * dense.macs_total)


RECIPE = ModelRecipe(
    name="hydranet_photos",
    system="hydranet",
    summary="HydraNet on photographs of 203 everyday things: a stem and 4 branches, of which one or two run.",
    paper="Mullapudi, Mark, Shazeer, Fatahalian: HydraNets, CVPR 2018, pp. 8080-8089",
    paper_url="https://openaccess.thecvf.com/CVPR2018",
    model=HydraNet,
    recipe_note="The stem keeps its ImageNet weights; a dense tail learns for 1 + 4 epochs, then 4 thinned "
    "copies of it and the gate for 2 more with mixup; TensorFlow on two CPU cores.",
    config=CONFIG,
    baseline="efficientnet_lite0_photos",
    dataset=PHOTOS,
    measure=measure_on_photos,
    train=train,
    epochs=TAIL.epochs,
    build_options={"classifier_activation": None, "weights": "imagenet"},
)
