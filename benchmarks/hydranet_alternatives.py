"""What each stage of the recipe adds, and, where the HydraNet paper is silent, the alternatives, on short runs.

    python -m benchmarks.hydranet_alternatives      # needs the trained seeds: run the recipe first

Each variant trains for 3 epochs on the first 12,800 training images and is measured on the first 5,000 test images,
with two branches per image. All but one start from the recipe's trained trunk. The result: ``alternatives.md``.
"""

import dataclasses
import pathlib

import keras
import numpy as np

from benchmarks import without_options
from keras_moe.datasets import cifar100
from keras_moe.files import write_bytes
from keras_moe.layer_state import copy_weights, set_weights
from keras_moe.models import HydraNet
from keras_moe.recipes import hydranet_cifar100
from keras_moe.recipes.publishing.measures import measure_classifier
from keras_moe.training import Checkpoint, Recipe, classification_stage, partition_classes, run_stages
from keras_moe.weights import load_weights
from keras_moe.zoo.store import published_folder

FOLDER = published_folder() / "hydranet_cifar100"
RUNS = pathlib.Path("runs", "hydranet_cifar100")
IMAGES, EPOCHS = 12_800, 3

VARIANTS = {
    "the recipe: joint, gate weight 0.5, features to the combiner": {},
    "gate weight 0 (the gate learns from the class loss alone)": {"gate_weight": 0.0},
    "gate weight 0.1": {"gate_weight": 0.1},
    "gate weight 2": {"gate_weight": 2.0},
    "logits to the combiner (a head per branch)": {"config": {"combine": "logits"}},
    "staged: gate for 1 epoch, then everything": {"staged": True},
    "from random weights instead of the trunk": {"grow": False},
}


def main():
    without_options(__doc__)
    (x, y), (x_test, y_test) = cifar100()
    learn, test = (x[:IMAGES], y[:IMAGES]), (x_test[:5000], y_test[:5000])
    trunk = _trunk(0)
    groups = partition_classes(trunk.predict(x, batch_size=500, verbose=0), y, hydranet_cifar100.CONFIG["num_experts"])
    rows = [("(the trunk itself, one branch)", measure_classifier(trunk, *test), {})]
    for name, variant in VARIANTS.items():
        rows.append((name, *_run(trunk, groups, learn, test, name, **variant)))
        print(_row(*rows[-1]), flush=True)
    head = "| variant | accuracy | gate accuracy | least used branch |\n|---|---|---|---|\n"
    table = head + "\n".join(_row(*row) for row in rows) + "\n"
    stages = _stages(x, (x_test, y_test))
    write_bytes(FOLDER / "alternatives.md", f"# Alternatives\n\n{_note()}\n\n{table}\n{stages}".encode())


def _stages(images, test):
    """Each seed after each stage, on the whole test set."""
    rows = ["## What each stage adds", "", "All test images, each image routed as in use.", ""]
    rows += ["| seed | after | accuracy | MACs executed |", "|---|---|---|---|"]
    for seed in hydranet_cifar100.RECIPE.seeds:
        rows.append(_stage(seed, "trunk", _trunk(seed), test))
        model, folder = hydranet_cifar100.RECIPE.build(), RUNS / f"seed{seed}"
        for name in ("joint", "taught"):
            Checkpoint(folder / name).restore(model)
            hydranet_cifar100.fit_budget(model, images)
            rows.append(_stage(seed, name, model, test))
        load_weights(model, folder / "weights.safetensors")
        rows.append(_stage(seed, f"taught, and {hydranet_cifar100.KEPT} of the weights before", model, test))
    return "\n".join(rows) + "\n"


def _trunk(seed):
    trunk = HydraNet(**hydranet_cifar100.SINGLE, classifier_activation=None)
    Checkpoint(RUNS / f"seed{seed}" / "trunk").restore(trunk)
    return trunk


def _stage(seed, name, model, test):
    measured = measure_classifier(model, *test)
    return f"| {seed} | {name} | {measured['accuracy']:.2%} | {measured['macs_executed'] / 1e6:.2f} M |"


def _run(trunk, groups, learn, test, name, gate_weight=0.5, config=None, staged=False, grow=True):
    keras.utils.set_random_seed(0)
    model = HydraNet(**hydranet_cifar100.CONFIG, **(config or {}), classifier_activation=None)
    if grow:
        _grow(model, trunk)
    recipe = Recipe(EPOCHS, gate_weight=gate_weight)
    stages = [classification_stage(model, recipe, learn, test, groups)]
    if staged:
        first, rest = (dataclasses.replace(recipe, epochs=n) for n in (1, EPOCHS - 1))
        stages = [
            classification_stage(model, first, learn, test, groups, name="gate", parts=("gate",)),
            classification_stage(model, rest, learn, test, groups),
        ]
    history = run_stages(model, stages, RUNS / "alternatives" / "".join(c for c in name if c.isalnum()), verbose=0)
    return measure_classifier(model, *test), history["joint"][-1]


def _grow(model, trunk):
    if len(model.parts["combiner"][0].weights):
        model.init_from_single_branch(trunk)
        return
    # combine="logits": every branch takes the trunk's branch and its head
    for source, target in zip(trunk.parts["stem"], model.parts["stem"], strict=True):
        copy_weights(source, target)
    start = trunk.bank.experts[0].get_weights() + trunk.parts["combiner"][0].get_weights()
    for branch in model.bank.experts:
        set_weights(branch, start)


def _row(name, measured, logs):
    gate = f"{logs['val_gate_logits_accuracy']:.1%}" if "val_gate_logits_accuracy" in logs else ""
    least = f"{np.min(measured['usage']):.1%}"
    return f"| {name} | {measured['accuracy']:.2%} | {gate} | {least} |"


def _note():
    return (
        f"By `benchmarks/hydranet_alternatives.py`: {EPOCHS} epochs on {IMAGES:,} training images, seed 0, measured on "
        "5,000 test images "
        "with two branches per image. Short runs tell tendencies, not the final accuracy; the runs restart at the full "
        "learning rate, which costs accuracy that a long run wins back."
    )


if __name__ == "__main__":
    main()
