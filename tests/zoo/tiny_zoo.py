"""A zoo of one tiny model, published into a temporary folder."""

import numpy as np

from keras_moe import models
from keras_moe.weights import save_weights
from keras_moe.zoo.model_card import WEIGHTS, Card, Data, Input, Metric
from keras_moe.zoo.writing import pin, write_card

CONFIG = {
    "input_shape": (8, 8, 3),
    "backbone": "resnet8",
    "alpha": 0.5,
    "num_experts": 3,
    "top_k": 1,
    "gate_filters": 0,
}
LABELS = ("ant", "bee", "cicada", "dragonfly", "earwig")


def example_card(**changes):
    """A sound card, with changes."""
    values = {
        "name": "tiny",
        "system": "hydranet",
        "task": "classification",
        "summary": "A tiny HydraNet for tests.",
        "paper": "Mullapudi et al., CVPR 2018",
        "paper_url": "https://openaccess.thecvf.com",
        "license": "Apache-2.0",
        "model": "HydraNet",
        "params": 1000,
        "macs_total": 9000,
        "macs_executed": 4000.5,
        "recipe": "recipe.py",
        "recipe_note": "no training",
        "data": Data("none", "CC0-1.0", "random numbers", "https://example.org"),
        "input": Input((8, 8, 3), "[0, 255]", "RGB"),
        "config": CONFIG,
        "metrics": (Metric("top-1", 0.2, "test", (0, 1), (0.1, 0.3)),),
        "files": (pin(WEIGHTS, b"nothing"),),
        "classes": LABELS,
    }
    return Card(**{**values, **changes})


def tiny_model(**changes):
    """A ``HydraNet`` with the config above and weights that differ from layer to layer."""
    model = models.HydraNet(**{**CONFIG, "classes": len(LABELS), **changes})
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.uniform(0.1, 1.0, tuple(variable.shape)))
    return model


def publish(zoo, model, /, name="tiny", dtype=None, **changes):
    """Writes ``model`` and its card below the folder ``zoo``; returns the card."""
    folder = zoo / name
    folder.mkdir(parents=True)
    save_weights(model, folder / WEIGHTS, dtype)
    weights = pin(WEIGHTS, (folder / WEIGHTS).read_bytes())
    card = example_card(name=name, files=(weights,), **changes)
    write_card(card, folder)
    return card
