"""single_gated_photos: a thinned EfficientNet-Lite0 on few pixels, and two experts where it is not sure.

    KERAS_BACKEND=tensorflow python -m keras_moe.recipes single_gated_photos [--publish]

Base and experts grow from ``efficientnet_lite0_photos`` and learn each alone in the second round of
``keras_moe.recipes.shared.photos``: the base on photographs that the model's own layer has resized; a network thinned
as the experts are, of which each expert then becomes a copy that sees photographs of its own group of classes more
often. Groups are of classes that look alike to the base, whose embedding the gate reads. Then photographs that were
held out set how much an expert's logits count beside the base's, by cross-entropy, and the threshold of the early exit,
for a budget of 60 % of the dense network's MACs.
"""

import pathlib

import numpy as np

from keras_moe.datasets import PHOTOS, photos
from keras_moe.images import resized
from keras_moe.layer_state import set_weights
from keras_moe.models import HydraNet, SingleGatedMoE
from keras_moe.models.growth import grow_from
from keras_moe.recipes import single_gated_cifar100
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.recipes.shared.photo_features import dense, held_out
from keras_moe.recipes.shared.photos import CONFIG as DENSE_CONFIG
from keras_moe.recipes.shared.photos import (
    DENSE,
    MIXTURE,
    SECOND_NOTE,
    THINNED,
    History,
    measure_on_photos,
    published_dense,
    second_round,
    with_seed,
)
from keras_moe.training import fit_balance, fit_threshold, partition_classes

SHARE = 0.6
OTHERS = 0.3  # how often an expert sees a photograph of the other group, for each time that it sees one of its own
BASE, EXPERT = (1, 2, 2, 1, 1, 1, 1), (1, 2, 2, 3, 3, 2, 1)  # the most blocks of each stage
CONFIG: Config = {
    **DENSE_CONFIG, "num_experts": 2, "top_k": 1, "learned": True, "base_size": 96, "blocks": BASE,
    "expert_blocks": EXPERT,
}  # fmt: skip


def train(model: SingleGatedMoE, seed: int, folder: pathlib.Path, epochs: int) -> History:
    base, of_base = train_base(seed, folder / "base", epochs)
    expert, of_expert = train_expert(seed, folder / "expert", epochs)
    for layers, network in (([model.get_layer("tail")], base), (model.bank.experts, expert)):
        for layer in layers:
            grow_from(layer, network)
    groups = _groups(model)
    history = {**of_base, **of_expert, "groups": groups.tolist()}
    for k, layer in enumerate(model.bank.experts):
        own, of_own = specialise(expert, groups, k, seed, folder / f"expert_{k}", epochs)
        grow_from(layer, own)
        history |= of_own
    images, labels = (part[held_out()] for part in photos("train"))
    images = resized(images, model.input_shape[1])
    fit_balance(model, images, labels)
    fit_threshold(model, images, labels, budget=SHARE * published_dense().macs_total)
    return history


def train_base(seed: int, folder: pathlib.Path, epochs: int) -> tuple[HydraNet, History]:
    """The base as a network of one branch: it needs longer, since it has lost pixels and half of its blocks."""
    network, of = dense(CONFIG["base_size"], branch_blocks=BASE), {}
    rounds = (("base", published_dense(), THINNED, 2 * epochs), ("again", network, MIXTURE, epochs))
    for name, start, recipe, count in rounds:
        of[name] = second_round(
            network, start, with_seed(recipe, seed, count), folder / name, resized_from=CONFIG["input_shape"][0]
        )
    return network, of


def train_expert(seed: int, folder: pathlib.Path, epochs: int) -> tuple[HydraNet, History]:
    """What both experts start as, a network of one branch."""
    network = dense(CONFIG["input_shape"][0], branch_blocks=EXPERT)
    return network, {"expert": second_round(network, published_dense(), with_seed(THINNED, seed, epochs), folder)}


def specialise(
    start: HydraNet, groups: np.ndarray, k: int, seed: int, folder: pathlib.Path, epochs: int
) -> tuple[HydraNet, History]:
    """Expert ``k``, from what all experts start as, in half of the epochs."""
    network = dense(CONFIG["input_shape"][0], branch_blocks=EXPERT)
    recipe = with_seed(MIXTURE, seed, max(1, epochs // 2))
    emphasis = np.where(groups == k, 1.0, OTHERS)
    return network, {f"expert_{k}": second_round(network, start, recipe, folder, emphasis=emphasis)}


def _groups(model: SingleGatedMoE) -> np.ndarray:
    """The expert of each class; the gate learns it from the base's embedding, by logistic regression."""
    from sklearn.linear_model import LogisticRegression

    images, labels = (part[~held_out()] for part in photos("train"))
    embeddings = model.embed(resized(images, model.input_shape[1]))
    groups = partition_classes(embeddings, labels, len(model.bank.experts))
    fitted = LogisticRegression(C=0.01, max_iter=1000).fit(embeddings, groups[labels])
    kernel, bias = np.zeros((embeddings.shape[1], 2)), np.zeros(2)
    kernel[:, 1], bias[1] = fitted.coef_[0], fitted.intercept_[0]  # of two experts: how much more likely the second is
    set_weights(model.get_layer("gate").layers[-1], [kernel, bias])
    return groups


RECIPE = ModelRecipe(
    name="single_gated_photos",
    summary="A base on few pixels for photographs of 203 everyday things and 2 experts, of which one runs where the "
    "base is unsure.",
    paper=single_gated_cifar100.RECIPE.paper,
    paper_url=single_gated_cifar100.RECIPE.paper_url,
    model=SingleGatedMoE,
    recipe_note=f"Base and experts grow from {DENSE}, of which blocks are left out: the base, on photographs of "
    f"{CONFIG['base_size']} pixels, in {3 * MIXTURE.epochs} epochs, the experts in {MIXTURE.epochs} together and "
    f"{MIXTURE.epochs // 2} alone, a photograph of another group of classes {OTHERS} times as often: {SECOND_NOTE}. "
    "The gate is a logistic regression of the groups on the base's embedding; held-out photographs set how much an "
    "expert counts beside the base.",
    config=CONFIG,
    baseline=DENSE,
    dataset=PHOTOS,
    measure=measure_on_photos,
    train=train,
    epochs=MIXTURE.epochs,
)
