"""resnet14_cifar100: the dense baseline of the CIFAR-100 HydraNet, a ResNet-14 by the same recipe.

    python zoo/resnet14_cifar100/recipe.py [--seeds 0 1] [--publish]

The recipe is ``keras_moe.training.Recipe`` with its defaults: 15 epochs of AdamW, batch 128, half an epoch of warm-up
to 3e-3 and a cosine to 0, flips and 4-pixel crops; trained on all 50,000 training images. That is a short training:
ResNet-14 reaches far more in the 200 epochs that papers give it.
"""

import pathlib

import numpy as np

from keras_moe.datasets import cifar100
from keras_moe.images import photographs
from keras_moe.models import Classifier
from keras_moe.training import Recipe, run_stages, supervised
from keras_moe.zoo.model_card import Data, Input
from keras_moe.zoo.publish import Published, main

CONFIG = {"input_shape": (32, 32, 3), "alpha": 1.0, "backbone": "resnet14", "classes": 100}

LABELS = tuple((pathlib.Path(__file__).parent / "labels.txt").read_text().splitlines())


def build():
    return Classifier(**CONFIG, classifier_activation=None)


def train(model, seed, folder, epochs):
    learn, test = cifar100()
    return run_stages(model, [supervised(model, Recipe(epochs, seed=seed), learn, test)], folder)


MODEL = Published(
    name="resnet14_cifar100",
    card={
        "system": "dense",
        "task": "classification",
        "summary": "ResNet-14 on CIFAR-100: every image runs all of it.",
        "paper": "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016",
        "paper_url": "https://arxiv.org/abs/1512.03385",
        "licence": "Apache-2.0",
        "model": "Classifier",
        "recipe_note": "15 epochs of AdamW at batch 128, a cosine from 3e-3; two CPU cores, TensorFlow.",
        "data": Data(
            "CIFAR-100",
            "none stated; customary research use",
            "the official images, uncompressed",
            "https://www.cs.toronto.edu/~kriz/cifar.html",
        ),
        "input": Input((32, 32, 3), "[0, 255]", "RGB"),
        "config": CONFIG,
        "classes": LABELS,
    },
    build=build,
    train=train,
    test=lambda: cifar100()[1],
    epochs=15,
    seeds=(0, 1),
    golden=lambda: np.stack(photographs((32, 32, 3))),
)

if __name__ == "__main__":
    main(MODEL, pathlib.Path(__file__).parent)
