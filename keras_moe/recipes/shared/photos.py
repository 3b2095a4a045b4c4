"""What models published on photographs have in common: the split, cached features, the teacher, one way to learn.

Everything up to the stem's end keeps its ImageNet weights, so its features are computed once for a few views of every
photograph (``photo_features``); what comes after learns from them. Every model, the dense baseline too, learns in two
rounds of as many epochs: first as the dense network at 160 pixels, from labels; then as what it is, grown from that
network, from labels and from what that network predicts for the same views. Classes are drawn by the square root of
their size: they have 20 to 876 photographs.
"""

import dataclasses
import pathlib
import typing

import keras
import numpy as np

from keras_moe.datasets import photos
from keras_moe.images import resized
from keras_moe.models import Classifier, HydraNet, MoEModel, SingleGatedMoE
from keras_moe.models.backbones import assign_dense, dense_name
from keras_moe.recipes.publishing.measures import measure_classifier
from keras_moe.recipes.shared.photo_features import CACHE, CLASSES, dense, held_out, photo_features, photo_labels
from keras_moe.training import Recipe, Stage, run_stages
from keras_moe.training.classification import adamw
from keras_moe.training.features import FeatureBatches, square_root_sampling

TAIL = Recipe(epochs=4, batch_size=64, learning_rate=5e-4, weight_decay=0.02, gate_weight=0.3)
HEAD = Recipe(epochs=1, batch_size=64, learning_rate=3e-3, weight_decay=0.02)
History = dict[str, typing.Any]

SHARE = 0.7  # of the teacher's prediction in the target; the rest is the label's


def learn_behind_stem(
    model: HydraNet | SingleGatedMoE,
    folder: pathlib.Path,
    recipe: Recipe = TAIL,
    groups: np.ndarray | None = None,
    soft: list[np.ndarray] | None = None,
    name: str = "tail",
    parts: typing.Iterable[str] | None = None,
) -> History:
    """Trains all of ``model`` but its stem, which must hold the ImageNet weights, on cached features.

    Without a teacher the head, whose values are random, learns first and alone.

    Args:
        model: a ``HydraNet`` with a named backbone, ending in logits.
        folder: of the checkpoint.
        recipe: a ``Recipe``.
        groups: int array ``(classes,)``, the branch meant for each class; None: the gate learns from the class loss.
        soft: list of float arrays ``(n, classes)``, a teacher's prediction for each view; None: labels alone, smoothed.
        name: of the stage.

    Returns:
        dict, as ``run_stages`` gives it.
    """
    (views, rest), labels, held = photo_features(model), photo_labels(), held_out()
    learned, targets = np.flatnonzero(~held), _targets(labels, soft, groups)
    validation = np.asarray(views[0][held], "float32"), _targets(labels[held], None, groups, 0)

    def stage(name: str, recipe: Recipe, parts: typing.Iterable[str]) -> Stage:
        return Stage(
            name=name,
            train=tuple(parts),
            epochs=recipe.epochs,
            optimizer=lambda: adamw(recipe, len(learned) // recipe.batch_size),
            data=lambda: FeatureBatches(
                views, targets, recipe.batch_size, recipe.seed, learned, square_root_sampling(labels[learned])
            ),
            losses=_losses(groups),
            loss_weights=None if groups is None else {"prediction": 1.0, "gate_logits": recipe.gate_weight},
            metrics={"prediction": ["accuracy"]},
            validation_data=validation,
        )

    # A head of random values would first pull the tail away from what it has learned (Kumar et al., ICLR 2022).
    head = [stage("head", dataclasses.replace(HEAD, seed=recipe.seed), ["combiner"])] if soft is None else []
    return run_stages(rest, [*head, stage(name, recipe, parts or rest.parts)], folder, verbose=2)


def teacher_predictions(teacher: HydraNet, name: str) -> list[np.ndarray]:
    """Predictions of a model that ``learn_behind_stem`` trained, for each view: float16 ``(n, classes)``, kept."""
    import scipy.special

    path = CACHE / f"teacher_{name}.npy"
    if not path.exists():
        views, rest = photo_features(teacher)
        predictions = [
            scipy.special.softmax(rest.predict(np.asarray(view), batch_size=256, verbose=0), axis=-1) for view in views
        ]
        np.save(path, np.asarray(predictions, "float16"))
    return list(np.load(path))


def first_round(seed: int = 0, epochs: int = TAIL.epochs) -> tuple[HydraNet, History]:
    """The dense network at 160 pixels after the first round, which is run once for all models, and its history."""
    model = dense(160, weights="imagenet")
    recipe = dataclasses.replace(TAIL, seed=seed, epochs=epochs)
    return model, learn_behind_stem(model, CACHE / f"first_{epochs}_seed{seed}", recipe, name="first")


def second_round(
    model: HydraNet,
    teacher: HydraNet,
    folder: pathlib.Path,
    seed: int = 0,
    epochs: int = TAIL.epochs,
    groups: np.ndarray | None = None,
) -> History:
    """Grows ``model`` from ``teacher``, the network of the first round, and trains it on."""
    grow_from_dense(model, teacher)
    recipe = dataclasses.replace(TAIL, seed=seed + 1, epochs=epochs)
    soft = teacher_predictions(teacher, f"{epochs}_seed{seed}")
    return learn_behind_stem(model, folder / "second", recipe, groups, soft, name="second")


def grow_from_dense(model: Classifier | HydraNet, source: HydraNet) -> None:
    """Gives every copy of a stage in ``model`` what the dense network ``source`` of that backbone has there."""
    values = {dense_name(v.path): keras.ops.convert_to_numpy(v) for v in source.weights if dense_name(v.path)}
    assign_dense(model, values, source.name)


def measure_on_photos(network: MoEModel) -> dict[str, typing.Any]:
    """``measure_classifier`` on the test photographs."""
    images, labels = photos("test")
    return measure_classifier(network, resized(images, network.input_shape[1]), labels)


def _losses(groups: np.ndarray | None) -> dict[str, keras.Loss]:
    losses = {"prediction": keras.losses.CategoricalCrossentropy(from_logits=True)}
    if groups is not None:
        losses["gate_logits"] = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return losses


def _targets(
    labels: np.ndarray, soft: list[np.ndarray] | None, groups: np.ndarray | None, smoothing: float = 0.1
) -> dict[str, typing.Any]:
    own = np.eye(CLASSES, dtype="float32")[labels]
    if soft is None:
        classes = (1 - smoothing) * own + smoothing / CLASSES
    else:
        classes = [SHARE * prediction.astype("float32") + (1 - SHARE) * own for prediction in soft]
    return {"prediction": classes} | ({} if groups is None else {"gate_logits": groups[labels]})
