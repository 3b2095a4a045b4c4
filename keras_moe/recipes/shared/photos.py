"""What models published on photographs have in common: the split, cached features, one way to learn.

Everything up to the stem's end keeps its ImageNet weights, so its features are computed once for a few views of every
photograph (``photo_features``); what comes after learns from them. Every model, the dense baseline too, learns in two
rounds: first as the dense network at 160 pixels, then, for half as many epochs, as what it is, grown from that network.
Classes are drawn by the square root of their size: they have 20 to 876 photographs.
"""

import dataclasses
import pathlib
import typing

import keras
import numpy as np

from keras_moe.datasets import photos
from keras_moe.images import resized
from keras_moe.models import HydraNet, MoEModel
from keras_moe.recipes.publishing.measures import measure_classifier
from keras_moe.recipes.shared.photo_features import CACHE, CLASSES, dense, held_out, photo_features, photo_labels
from keras_moe.training import Recipe, Stage, run_stages
from keras_moe.training.batches import balancing_weights
from keras_moe.training.classification import adamw
from keras_moe.training.features import FeatureBatches
from keras_moe.training.finetuning.start import grow_from_dense

TAIL = Recipe(epochs=4, batch_size=64, learning_rate=5e-4, weight_decay=0.02, gate_weight=0.3)
HEAD = Recipe(epochs=1, batch_size=64, learning_rate=3e-3, weight_decay=0.02)
MIXUP = 0.4  # in the second round
History = dict[str, typing.Any]


def learn_behind_stem(
    model: HydraNet,
    folder: pathlib.Path,
    recipe: Recipe = TAIL,
    groups: np.ndarray | None = None,
    name: str = "tail",
    new_head: bool = False,
    mixup: float = 0.0,
) -> History:
    """Trains all of ``model`` but its stem, which must hold the ImageNet weights, on cached features.

    Args:
        model: a ``HydraNet`` with a named backbone, ending in logits.
        folder: of the checkpoint.
        recipe: a ``Recipe``.
        groups: int array ``(classes,)``, the branch meant for each class; None: the gate learns from the class loss.
        name: of the stage.
        new_head: bool, whether the head has random values; it then learns first and alone.
        mixup: as for ``FeatureBatches``.

    Returns:
        dict, as ``run_stages`` gives it.
    """
    (views, rest), labels, held = photo_features(model), photo_labels(), held_out()
    learned, targets = np.flatnonzero(~held), _targets(labels, groups)
    validation = np.asarray(views[0][held], "float32"), _targets(labels[held], groups, smoothing=0)

    def stage(name: str, recipe: Recipe, parts: typing.Iterable[str]) -> Stage:
        return Stage(
            name=name,
            train=tuple(parts),
            epochs=recipe.epochs,
            optimizer=lambda: adamw(recipe, len(learned) // recipe.batch_size),
            data=lambda: FeatureBatches(
                views, targets, recipe.batch_size, recipe.seed, learned, balancing_weights(labels), mixup
            ),
            losses=_losses(groups),
            loss_weights=None if groups is None else {"prediction": 1.0, "gate_logits": recipe.gate_weight},
            metrics={"prediction": ["accuracy"]},
            validation_data=validation,
        )

    # A head of random values would first pull the tail away from what it has learned (Kumar et al., ICLR 2022).
    head = [stage("head", dataclasses.replace(HEAD, seed=recipe.seed), ["combiner"])] if new_head else []
    return run_stages(rest, [*head, stage(name, recipe, rest.parts)], folder, verbose=2)


def first_round(seed: int = 0, epochs: int = TAIL.epochs) -> tuple[HydraNet, History]:
    """The dense network at 160 pixels after the first round, which is run once for all models, and its history."""
    model = dense(160, weights="imagenet")
    recipe = dataclasses.replace(TAIL, seed=seed, epochs=epochs)
    return model, learn_behind_stem(model, CACHE / f"first_{epochs}_seed{seed}", recipe, name="first", new_head=True)


def second_round(
    model: HydraNet,
    dense: HydraNet,
    folder: pathlib.Path,
    seed: int = 0,
    epochs: int = TAIL.epochs,
    groups: np.ndarray | None = None,
) -> History:
    """Grows ``model`` from ``dense``, the network of the first round, and trains it for half of ``epochs``, gently.

    By then the training photographs are known almost by heart: mixtures of two are not.
    """
    grow_from_dense(model, dense)
    recipe = dataclasses.replace(TAIL, seed=seed + 1, epochs=-(-epochs // 2), learning_rate=TAIL.learning_rate * 0.4)
    return learn_behind_stem(model, folder / "second", recipe, groups, name="second", mixup=MIXUP)


def measure_on_photos(network: MoEModel) -> dict[str, typing.Any]:
    """``measure_classifier`` on the test photographs."""
    images, labels = photos("test")
    return measure_classifier(network, resized(images, network.input_shape[1]), labels)


def _losses(groups: np.ndarray | None) -> dict[str, keras.Loss]:
    losses = {"prediction": keras.losses.CategoricalCrossentropy(from_logits=True)}
    if groups is not None:
        losses["gate_logits"] = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return losses


def _targets(labels: np.ndarray, groups: np.ndarray | None, smoothing: float = 0.1) -> dict[str, typing.Any]:
    classes = (1 - smoothing) * np.eye(CLASSES, dtype="float32")[labels] + smoothing / CLASSES
    return {"prediction": classes} | ({} if groups is None else {"gate_logits": groups[labels]})
