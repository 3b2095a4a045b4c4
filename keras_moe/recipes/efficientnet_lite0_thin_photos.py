"""efficientnet_lite0_thin_photos: the photograph classifier with one block in each stage behind its stem.

    KERAS_BACKEND=tensorflow python -m keras_moe.recipes efficientnet_lite0_thin_photos [--publish]

It starts from ``efficientnet_lite0_photos``, the blocks with a skip around them left out, and learns in the second
round of ``keras_moe.recipes.shared.photos``. ``hydranet_photos`` grows from it.
"""

import dataclasses
import pathlib
import typing

from keras_moe.models import Classifier
from keras_moe.models.growth import grow_from
from keras_moe.recipes import efficientnet_lite0_photos
from keras_moe.recipes.shared.photo_features import dense
from keras_moe.recipes.shared.photos import (
    DENSE,
    SECOND_NOTE,
    THIN,
    THIN_CONFIG,
    THINNED,
    published_dense,
    second_round,
    with_seed,
)


def train(model: Classifier, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
    network = dense(160, branch_blocks=1)
    history = second_round(network, published_dense(), with_seed(THINNED, seed, epochs), folder)
    grow_from(model, network)
    return history


RECIPE = dataclasses.replace(
    efficientnet_lite0_photos.RECIPE,
    name=THIN,
    summary="A thinned EfficientNet-Lite0 on photographs of 203 everyday things: every image runs all of it.",
    recipe_note=f"Grown from {DENSE}, with one block in each stage behind the third; {THINNED.epochs} epochs, a cosine "
    f"from 5e-4: {SECOND_NOTE}.",
    config=THIN_CONFIG,
    baseline=DENSE,
    train=train,
    epochs=THINNED.epochs,
)
