"""resnet14_cifar100: the base of the CIFAR-100 single-gated MoE, a ResNet-14.

    python zoo/resnet14_cifar100/recipe.py [--seeds 0 1] [--publish]

The recipe is ``keras_moe.training.Recipe`` with its defaults: 15 epochs of AdamW, batch 128, half an epoch of warm-up
to 3e-3 and a cosine to 0, flips and 4-pixel crops; trained on all 50,000 training images. That is a short training:
ResNet-14 reaches far more in the 200 epochs that papers give it.
"""

import pathlib

from keras_moe.datasets import cifar100
from keras_moe.models import Classifier
from keras_moe.training import Recipe, run_stages, supervised
from keras_moe.zoo.publish import main
from keras_moe.zoo.trained_on import on_cifar100

CONFIG = {"input_shape": (32, 32, 3), "alpha": 1.0, "backbone": "resnet14", "classes": 100}


def build():
    return Classifier(**CONFIG, classifier_activation=None)


def train(model, seed, folder, epochs):
    learn, test = cifar100()
    return run_stages(model, [supervised(model, Recipe(epochs, seed=seed), learn, test)], folder)


MODEL = on_cifar100(
    name="resnet14_cifar100",
    card={
        "system": "dense",
        "summary": "ResNet-14 on CIFAR-100: every image runs all of it.",
        "paper": "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016",
        "paper_url": "https://arxiv.org/abs/1512.03385",
        "model": "Classifier",
        "recipe_note": "15 epochs of AdamW at batch 128, a cosine from 3e-3; two CPU cores, TensorFlow.",
        "config": CONFIG,
    },
    build=build,
    train=train,
)

if __name__ == "__main__":
    main(MODEL, pathlib.Path(__file__).parent)
