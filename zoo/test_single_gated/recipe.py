"""test_single_gated: a tiny single-gated MoE on scikit-learn's handwritten digits, for tests without a network.

    python zoo/test_single_gated/recipe.py --publish

Trained on the first 1,400 of the 1,797 digits, measured on the remaining 397. About half a minute on two CPU cores.
"""

import dataclasses
import pathlib

from keras_moe.datasets import digits
from keras_moe.models import Classifier, SingleGatedMoE
from keras_moe.training import Recipe, classification_stage, run_stages, train_single_gated
from keras_moe.zoo.publish import main
from keras_moe.zoo.trained_on import on_digits

BASE = {"input_shape": (8, 8, 1), "alpha": 0.5, "backbone": "resnet8", "classes": 10}
CONFIG = {**BASE, "num_experts": 3, "threshold": 0.8}


def build():
    return SingleGatedMoE(**CONFIG, classifier_activation=None)


def train(model, seed, folder, epochs):
    learn, test = digits()
    recipe = Recipe(epochs, batch_size=100, augment=False, seed=seed)
    base = Classifier(**BASE, classifier_activation=None)
    history = run_stages(base, [classification_stage(base, recipe, learn, test, name="base")], folder / "base")
    model.init_from_classifier(base)
    experts = dataclasses.replace(recipe, learning_rate=1e-3)
    return history | train_single_gated(model, learn, test, folder, experts)


MODEL = on_digits(
    name="test_single_gated",
    card={
        "system": "single_gated",
        "summary": "Tiny single-gated MoE on 8x8 digits, for tests without a network.",
        "paper": "Royer, Karmanov, Skliar, Ehteshami Bejnordi, Blankevoort: Revisiting Single-gated Mixtures of "
        "Experts, BMVC 2022",
        "paper_url": "https://arxiv.org/abs/2304.05497",
        "model": "SingleGatedMoE",
        "recipe_note": "A base of 12 epochs of AdamW on 1,400 digits, then three experts of 12 epochs of 467 digits.",
        "config": CONFIG,
    },
    build=build,
    train=train,
    epochs=12,
)

if __name__ == "__main__":
    main(MODEL, pathlib.Path(__file__).parent)
