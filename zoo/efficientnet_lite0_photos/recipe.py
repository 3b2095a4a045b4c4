"""efficientnet_lite0_photos: EfficientNet-Lite0 on photographs of 203 classes, the dense baseline of the mixtures.

    KERAS_BACKEND=tensorflow python zoo/efficientnet_lite0_photos/recipe.py [--publish]

Two rounds, as ``keras_moe.zoo.photos`` tells; the second learns from what the first one's network says. Needs the
extra ``imagenet``.
"""

import pathlib

from keras_moe.models import Classifier
from keras_moe.zoo.photos import CLASSES, dense, first_round, grow_from_dense, on_photos, second_round
from keras_moe.zoo.publish import main

CONFIG = {"input_shape": (160, 160, 3), "backbone": "efficientnet_lite0", "classes": CLASSES}


def build():
    return Classifier(**CONFIG, classifier_activation=None)


def train(model, seed, folder, epochs):
    teacher, history = first_round(seed, epochs)
    single = dense(160, weights="imagenet")
    history |= second_round(single, teacher, folder, seed, epochs)
    grow_from_dense(model, single)
    return history


MODEL = on_photos(
    name="efficientnet_lite0_photos",
    card={
        "system": "dense",
        "summary": "EfficientNet-Lite0 on photographs of 203 everyday things: every image runs all of it.",
        "paper": "Tan, Le: EfficientNet, ICML 2019; Lite: without squeeze-and-excite, with ReLU6",
        "paper_url": "https://arxiv.org/abs/1905.11946",
        "model": "Classifier",
        "recipe_note": "The stem up to the fourth stage keeps its ImageNet weights; the rest learns for 5 epochs from "
        "labels, then for 5 more from labels and its own opinion of the same views; TensorFlow on two CPU cores.",
        "config": CONFIG,
    },
    build=build,
    train=train,
)

if __name__ == "__main__":
    main(MODEL, pathlib.Path(__file__).parent)
