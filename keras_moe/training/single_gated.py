"""The training of single-gated MoE (BMVC 2022; poster, "Asynchronous Training algorithm"), in frozen stages."""

import dataclasses
import pathlib

import keras
import numpy as np

from keras_moe.batches import ImageBatches
from keras_moe.checks import check, class_labels, integer
from keras_moe.models.single_gated import SingleGatedMoE
from keras_moe.training.classification import Recipe, adamw, classification_stage
from keras_moe.training.experts import check_settings, train_experts
from keras_moe.training.partition import partition_samples
from keras_moe.training.stages import History, Stage, run_stages
from keras_moe.types import Array, LabelledImages, Path


def train_single_gated(
    model: SingleGatedMoE,
    train: LabelledImages,
    validation: LabelledImages,
    folder: Path,
    recipe: Recipe,
    gate_epochs: int = 1,
    groups: Array | None = None,
    noise: float = 0.1,
    n_jobs: int | None = None,
    verbose: str | int = "auto",
) -> History:
    """Trains gate, experts and ensembler around a trained base; the same call resumes an interrupted run.

    1. k-means over the base's embeddings of the training images gives each image a target expert.
    2. *gate*: it starts from the centroids; its loss is cross-entropy with the target expert, the KL divergence to it.
    3. *experts*: each alone, where ``n_jobs`` or ``joblib.parallel_config`` says; see ``train_experts``.
    4. *ensembler*: for one epoch, only if it is ``learned``.

    Args:
        model: a ``SingleGatedMoE`` that ends in logits and whose base is trained (``init_from_classifier``,
            or ``upcycle``).
        train, validation: ``(images, labels)``: uint8 ``(n, h, w, c)`` and int ``(n,)``.
        folder: for checkpoints; one folder, one run.
        recipe: the ``Recipe`` of each expert.
        gate_epochs: int >= 1.
        groups: int array ``(classes,)``, the expert of each class, or None: an expert for each image, as above.
        noise: float > 0, see ``train_experts``.
        n_jobs: int or None, see ``train_experts``.
        verbose: as in ``fit``.

    Returns:
        dict, stage -> list of logs, one dict of floats per epoch.

    Raises:
        ValueError: images and labels of different number, labels beyond the model's classes, groups that leave an
            expert without images, or more experts than the embeddings have clusters; before anything is trained.
        RuntimeError: experts that could not be trained; see ``train_experts``.

    Example:
        >>> (images, labels), test = datasets.digits()
        >>> model = zoo.load("test_single_gated", classifier_activation=None)
        >>> recipe = training.Recipe(epochs=1, batch_size=50, augment=False)
        >>> history = training.train_single_gated(model, (images[:300], labels[:300]), test, "run", recipe, verbose=0)
        >>> list(history)
        ['gate', 'expert_0', 'expert_1', 'expert_2']
    """
    gate_epochs = integer("train_single_gated", "gate_epochs", gate_epochs, 1)
    noise, n_jobs = check_settings("train_single_gated", noise, n_jobs)
    for name, (images, labels) in (("train", train), ("validation", validation)):
        class_labels("train_single_gated", name, labels, (len(images),), model.output_shape[-1])
    folder, experts = pathlib.Path(folder), len(model.bank.experts)
    groups = None if groups is None else _checked_groups(groups, train[1], model.output_shape[-1], experts)
    embeddings = model.embed(train[0])
    centroids, target = _targets(embeddings, train[1], groups, experts, recipe.seed)
    if not model.gate_is_hidden:
        model.point_gate_at(centroids)
    short = dataclasses.replace(recipe, epochs=gate_epochs, learning_rate=recipe.learning_rate / 3)
    stages = [_gate_stage(model, short, train, target, validation, centroids, groups)]
    history = run_stages(model, stages, folder / "gate", verbose=verbose)
    history |= train_experts(model, train, folder / "experts", recipe, noise, n_jobs, verbose=verbose)
    if model.get_layer("ensembler").learned:
        stage = classification_stage(
            model, dataclasses.replace(short, epochs=1), train, validation, None, "ensembler", ["ensembler"]
        )
        history |= run_stages(model, [stage], folder / "ensembler", verbose=verbose)
    return history


def _checked_groups(groups: Array, labels: Array, classes: int, experts: int) -> Array:
    """``groups`` with images for every expert; without any, an expert would have no centroid."""
    groups = class_labels("train_single_gated", "groups", groups, (classes,), experts)
    images = np.bincount(groups[np.asarray(labels)], minlength=experts).tolist()
    check("train_single_gated", "groups", groups.tolist(), all(images), f"with images for each expert, not {images}")
    return groups


def _targets(embeddings: Array, labels: Array, groups: Array | None, experts: int, seed: int) -> tuple[Array, Array]:
    if groups is None:
        return partition_samples(embeddings, experts, seed)
    target = groups[labels]
    return np.stack([embeddings[target == k].mean(0) for k in range(experts)]), target


def _gate_stage(
    model: SingleGatedMoE,
    recipe: Recipe,
    train: LabelledImages,
    target: Array,
    validation: LabelledImages,
    centroids: Array,
    groups: Array | None,
) -> Stage:
    data = ImageBatches(train[0], {"gate_logits": target}, recipe.batch_size, recipe.augment, seed=recipe.seed)
    nearest = _nearest(model.embed(validation[0]), centroids) if groups is None else groups[validation[1]]
    return Stage(
        name="gate",
        train=("gate",),
        epochs=recipe.epochs,
        optimizer=lambda: adamw(recipe, len(data)),
        data=data,
        losses={"gate_logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
        metrics={"gate_logits": ["accuracy"]},
        validation_data=(validation[0], {"gate_logits": nearest}),
    )


def _nearest(embeddings: Array, centroids: Array) -> Array:
    nearest: Array = ((embeddings[:, None] - centroids[None]) ** 2).sum(-1).argmin(1)
    return nearest
