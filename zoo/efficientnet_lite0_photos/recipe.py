"""efficientnet_lite0_photos: EfficientNet-Lite0 on photographs of 203 classes, the dense baseline of the mixtures.

    KERAS_BACKEND=tensorflow python zoo/efficientnet_lite0_photos/recipe.py [--publish]

The first round of ``keras_moe.zoo.photos``: the head learns alone, then the tail with it. Needs the extra ``imagenet``.
Nothing is published from this recipe yet.
"""

import pathlib

from keras_moe.models import Classifier
from keras_moe.zoo.photos import CLASSES, first_round, grow_from_dense, on_photos
from keras_moe.zoo.publish import main

CONFIG = {"input_shape": (160, 160, 3), "backbone": "efficientnet_lite0", "classes": CLASSES}


def build():
    return Classifier(**CONFIG, classifier_activation=None)


def train(model, seed, folder, epochs):
    network, history = first_round(seed, epochs)
    grow_from_dense(model, network)
    return history


MODEL = on_photos(
    name="efficientnet_lite0_photos",
    card={
        "system": "dense",
        "summary": "EfficientNet-Lite0 on photographs of 203 everyday things: every image runs all of it.",
        "paper": "Tan, Le: EfficientNet, ICML 2019; Lite: without squeeze-and-excite, with ReLU6",
        "paper_url": "https://arxiv.org/abs/1905.11946",
        "model": "Classifier",
        "recipe_note": "The stem up to the fourth stage keeps its ImageNet weights; the head learns for 2 epochs, then "
        "the rest for 3 more: AdamW at batch 64, a cosine from 2e-4, five random views of each photograph; TensorFlow "
        "on two CPU cores.",
        "config": CONFIG,
    },
    build=build,
    train=train,
)

if __name__ == "__main__":
    main(MODEL, pathlib.Path(__file__).parent)
