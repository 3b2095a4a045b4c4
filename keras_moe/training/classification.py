"""The recipe that published classifiers share: cross-entropy, a warm-up, a cosine, gate supervision."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from keras_moe.batches import ImageBatches
from keras_moe.checks import check, class_labels, plain_numbers
from keras_moe.models.base import MoEModel
from keras_moe.training.discriminative import DiscriminativeAdamW
from keras_moe.training.mask_views import MaskViews
from keras_moe.training.stages import Stage
from keras_moe.types import Array, LabelledImages


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings of supervised training with AdamW.

    The steps of plain SGD shrink with the share of images that an expert sees; Adam's do not.

    Args:
        epochs: int.
        batch_size: int.
        learning_rate: float, its peak, reached after ``warmup`` epochs.
        warmup: float, epochs.
        final: float in [0, 1], the last rate of the cosine after the warm-up, in proportion to the peak; 1: no decay.
        backbone_rate: float > 0, the learning rate of a named backbone's own variables in proportion to the others':
            below 1 for one that starts from trained weights.
        weight_decay: float, decoupled (times the learning rate), not applied to BatchNorm and biases.
        augment: bool, flip and crop; for images with masks the ``mask_views``.
        mask_views: ``MaskViews``, of images with masks.
        gate_weight: float, weight of the gate's loss beside the classifier's, for models with a gate.
        seed: int, of the order of the data and of augmentation.

    Example:
        >>> recipe = training.Recipe(epochs=40, batch_size=256)
        >>> recipe.learning_rate, recipe.augment
        (0.003, True)
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 3e-3
    warmup: float = 0.5
    final: float = 0.0
    backbone_rate: float = 1.0
    weight_decay: float = 0.05
    augment: bool = True
    mask_views: MaskViews = dataclasses.field(default_factory=MaskViews)
    gate_weight: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        at_least_one = {"least": 1}
        share, positive = {"least": 0, "most": 1}, {"above": 0}
        plain_numbers(self, epochs=at_least_one, batch_size=at_least_one, final=share, backbone_rate=positive)


def classification_stage(
    model: MoEModel,
    recipe: Recipe,
    train: LabelledImages,
    validation: LabelledImages,
    groups: Array | None = None,
    name: str = "joint",
    parts: Sequence[str] | None = None,
    soft_targets: Array | None = None,
) -> Stage:
    """The ``Stage`` that trains ``parts`` of ``model`` on labelled images.

    In a HydraNet the group of each image's class supervises the gate. The paper leaves the loss open; here it is
    cross-entropy on the gate's logits, weighted by ``recipe.gate_weight``.

    Args:
        model: an ``MoEModel`` that ends in logits (``classifier_activation=None``).
        recipe: a ``Recipe``.
        train, validation: ``(images, labels)``: uint8 ``(n, h, w, c)`` and int ``(n,)``.
        groups: int array ``(classes,)``, the expert for each class, or None: the gate learns from the class loss alone.
        name: of the stage.
        parts: names of the parts to train; None: all.
        soft_targets: float array ``(n, classes)``, rows that sum to one, as targets of the classifier instead of the
            labels of ``train``; the gate keeps the labels. See ``distillation_targets``.

    Raises:
        ValueError: ``soft_targets`` of another shape, or labels that are no classes of the model, one for each image.

    Example:
        >>> learn, test = datasets.digits()
        >>> model = zoo.load("test_hydranet", classifier_activation=None)
        >>> groups = np.arange(10) % 4
        >>> stage = training.classification_stage(model, training.Recipe(epochs=2), learn, test, groups)
        >>> stage.name, stage.epochs, list(stage.losses)
        ('joint', 2, ['prediction', 'gate_logits'])
    """
    classes = model.output_shape[-1]
    learned, held_out = (
        class_labels("classification_stage", name, labels, (len(images),), classes)
        for name, (images, labels) in (("train", train), ("validation", validation))
    )
    if soft_targets is not None:
        shape, rows = soft_targets.shape, (len(train[0]), classes)
        check("classification_stage", "soft_targets", shape, shape == rows, f"of shape {rows}, a row per image")
    sparse, dense = keras.losses.SparseCategoricalCrossentropy, keras.losses.CategoricalCrossentropy
    losses = {"prediction": (sparse if soft_targets is None else dense)(from_logits=True)}
    if groups is not None and recipe.gate_weight:
        losses["gate_logits"] = sparse(from_logits=True)

    def targets(labels: Array, classes: Array) -> dict[str, Array]:
        gate = {} if groups is None else {"gate_logits": groups[labels]}
        every: dict[str, Array] = {"prediction": classes, **gate}
        return {output: every[output] for output in losses}

    wanted = (learned, held_out) if soft_targets is None else (soft_targets, np.eye(classes)[held_out])
    data = ImageBatches(train[0], targets(learned, wanted[0]), recipe.batch_size, recipe.augment, seed=recipe.seed)
    return Stage(
        name=name,
        train=tuple(parts or model.parts),
        epochs=recipe.epochs,
        optimizer=lambda: adamw(recipe, len(data)),
        data=data,
        losses=losses,
        loss_weights={"prediction": 1.0, "gate_logits": recipe.gate_weight} if len(losses) > 1 else None,
        metrics={output: ["accuracy"] for output in losses},
        validation_data=(validation[0], targets(held_out, wanted[1])),
    )


def adamw(recipe: Recipe, steps: int) -> keras.optimizers.AdamW:
    """A fresh AdamW of ``recipe`` with warm-up and cosine, for epochs of ``steps`` batches."""
    warmup = int(recipe.warmup * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        recipe.epochs * steps - warmup,
        alpha=recipe.final,
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
    )
    if recipe.backbone_rate == 1:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
    else:
        optimizer = DiscriminativeAdamW(recipe.backbone_rate, learning_rate=rate, weight_decay=recipe.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer
