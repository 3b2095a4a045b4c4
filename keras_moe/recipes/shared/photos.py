"""Training shared by the recipes on photographs: the split, cached features, two rounds of learning.

Everything up to the stem's end keeps its ImageNet weights, so its features are computed once for a few views of every
photograph (``photo_features``); what comes after learns from them. In the first round the dense network learns from
labels. In the second a thinned network learns from labels and from the dense network's predictions, and mixtures are
grown from it and learn alike. Classes are drawn by the square root of their size: they have 20 to 876 photographs.
"""

import dataclasses
import pathlib
import typing

import numpy as np

from keras_moe import zoo
from keras_moe.datasets import ImageFiles, photos
from keras_moe.images import resized
from keras_moe.models import Classifier, HydraNet, MoEModel
from keras_moe.models.growth import grow_from
from keras_moe.recipes.publishing.measures import measure_classifier
from keras_moe.recipes.publishing.recipe import Config
from keras_moe.recipes.shared.photo_features import (
    CACHE,
    CLASSES,
    VIEWS,
    dense,
    held_out,
    photo_features,
    photo_labels,
)
from keras_moe.recipes.shared.trained import trained_weights
from keras_moe.training import Recipe, Stage, run_stages
from keras_moe.training.finetuning import phases
from keras_moe.training.finetuning.features import Part
from keras_moe.types import Array

CONFIG: Config = {"input_shape": (160, 160, 3), "backbone": "efficientnet_lite0", "classes": CLASSES}
THIN_CONFIG: Config = {**CONFIG, "blocks": (1, 2, 2, 1, 1, 1, 1)}
DENSE, THIN = "efficientnet_lite0_photos", "efficientnet_lite0_thin_photos"
HEAD = Recipe(epochs=1, batch_size=64, learning_rate=3e-3, weight_decay=0.02)
FIRST = Recipe(epochs=4, batch_size=64, learning_rate=5e-4, weight_decay=0.02)
THINNED = dataclasses.replace(FIRST, epochs=12)  # what a network without half of its blocks needs to find its way
MIXTURE = dataclasses.replace(FIRST, epochs=6, learning_rate=2.5e-4, gate_weight=0.3)
SECOND_VIEWS = 10
MIXUP = 0.4  # in the second round: by then the training photographs are known almost by heart, mixtures of two are not
SECOND_NOTE = (
    f"AdamW at batch 64, from labels and the predictions of {DENSE}, each photograph whole and in {SECOND_VIEWS} "
    "random views, features mixed up; TensorFlow on two CPU cores"
)
History = dict[str, typing.Any]


def first_round(seed: int, folder: pathlib.Path, epochs: int = FIRST.epochs) -> tuple[HydraNet, History]:
    """The dense network, from ImageNet's weights; the head, whose values are random, learns first and alone."""
    network = dense(160, weights="imagenet")
    rest, learning = photo_learning(network)
    stages = [
        _stage("head", dataclasses.replace(HEAD, seed=seed), ["combiner"], learning),
        _stage("first", dataclasses.replace(FIRST, seed=seed, epochs=epochs), list(rest.parts), learning),
    ]
    return network, run_stages(rest, stages, folder, verbose=2)


def second_round(
    model: HydraNet,
    start: MoEModel,
    recipe: Recipe,
    folder: pathlib.Path,
    resized_from: int | None = None,
    emphasis: Array | None = None,
) -> History:
    """Grows ``model`` from ``start`` and trains it behind its stem.

    A gate is taught which branch is meant for a photograph: that of its class. Classes are grouped by what the stem
    makes of them, which is what the gate sees: of groups that the dense network confuses it knows hardly more than
    half.

    Args:
        resized_from: as for ``photo_features``.
        emphasis: float array ``(classes,)``, how often photographs of a class are taken beside what balances classes.
    """
    grow_from(model, start)
    rest, learning = photo_learning(model, SECOND_VIEWS, resized_from)
    experts = len(model.bank.experts) if model.bank else 1
    train = learning.train
    groups = phases.class_groups(train.views[0], train.labels, experts) if experts > 1 else None
    learning = dataclasses.replace(
        learning, teacher_predictions=_teachings(), groups=groups, mixup=MIXUP, emphasis=emphasis
    )
    history = run_stages(rest, [_stage("second", recipe, list(rest.parts), learning)], folder, verbose=2)
    return {**history, **({} if groups is None else {"groups": groups.tolist()})}


def with_seed(recipe: Recipe, seed: int, epochs: int) -> Recipe:
    """``recipe`` for a seed; rounds do not see the photographs in the same order."""
    return dataclasses.replace(recipe, seed=seed + 1, epochs=epochs)


def photo_learning(
    model: MoEModel, count: int = VIEWS, resized_from: int | None = None
) -> tuple[MoEModel, phases.Learning]:
    """The trainable rest of ``model``, and its training data: cached views, labels."""
    views, rest = photo_features(model, count, resized_from)
    labels, held = photo_labels(), held_out()
    unseen = ImageFiles([], model.input_shape[1])  # stages that learn from features do not look at the photographs
    train = Part(unseen, labels[~held], [view[~held] for view in views])
    return rest, phases.Learning(train, Part(unseen, labels[held], [views[0][held]]), CLASSES)


def thin(runs: pathlib.Path, seed: int) -> Classifier:
    """The thinned network as its recipe leaves it in ``runs``."""
    return Classifier(**THIN_CONFIG, classifier_activation=None, weights=trained_weights(runs, THIN, seed))


def published_dense() -> MoEModel:
    """The dense network of the zoo, which ends in logits."""
    return zoo.load(DENSE, classifier_activation=None)


def measure_on_photos(network: MoEModel) -> dict[str, typing.Any]:
    """``measure_classifier`` on the test photographs."""
    images, labels = photos("test")
    return measure_classifier(network, resized(images, network.input_shape[1]), labels)


def _stage(name: str, recipe: Recipe, parts: list[str], learning: phases.Learning) -> Stage:
    """A stage that runs to its end: on held-out scenes the loss rises long before the accuracy falls."""
    return dataclasses.replace(phases.feature_stage(name, recipe, parts, learning), patience=None)


def _teachings() -> list[np.ndarray]:
    """Predictions of the published dense network for each view, computed once."""
    weights = zoo.card(DENSE).file("weights.safetensors")
    path = CACHE / f"{DENSE}_{weights.sha256[:8]}_{SECOND_VIEWS}.npy"
    if not path.exists():
        teacher = dense(160)
        grow_from(teacher, published_dense())
        rest, learning = photo_learning(teacher, SECOND_VIEWS)
        np.save(path, np.stack(phases.predictions_of_views(rest, learning.train.views)))
    return list(np.load(path))
