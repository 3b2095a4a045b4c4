"""Training of domain experts and of the gate between them (SAIAD at CVPR 2020, pp. 342-343), in frozen stages."""

import collections.abc
import dataclasses
import pathlib

import keras
import numpy as np

from keras_moe.checks import integer
from keras_moe.metrics import IGNORE
from keras_moe.models.base import MoEModel
from keras_moe.models.segmentation import SegmentationMoE
from keras_moe.training.classification import Recipe, adamw
from keras_moe.training.mask_batches import MaskBatches, check_masks
from keras_moe.training.stages import Stage, run_stages
from keras_moe.types import Array, LabelledImages, Path


def segmentation_stage(
    model: MoEModel,
    recipe: Recipe,
    train: LabelledImages,
    domains: Array | None = None,
    ignore: int | None = IGNORE,
    name: str = "segment",
    parts: collections.abc.Sequence[str] | None = None,
    loss: keras.losses.Loss | None = None,
) -> Stage:
    """The ``Stage`` that trains ``parts`` of ``model`` on images with masks, by default by cross-entropy per pixel.

    Args:
        model: an ``MoEModel`` from images to logits ``(n, h, w, classes)`` (``classifier_activation=None``).
        recipe: a ``Recipe``.
        train: ``(images, masks)``: uint8 ``(n, h, w, c)`` and integers ``(n, h, w)``.
        domains: int array ``(n,)``, the expert meant for each image, for a gate per image: it is then supervised,
            weighted by ``recipe.gate_weight``. None: the gate learns from the masks alone, as in the paper.
        ignore: int, the label that the loss does not count.
        name: of the stage.
        parts: names of the parts to train; None: all.
        loss: a Keras loss of masks and logits, such as ``StructureLoss``; None: cross-entropy.

    Raises:
        ValueError: masks that do not fit images or classes, images or masks of another size than the model's, or
            domains where the gate is not one per image.
    """
    ignore = integer("segment", "ignore", ignore, or_none=True)
    check_masks(train[0], train[1], model.output_shape[-1], ignore)
    _check_sizes(model, *train)
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=ignore)
    losses = {"prediction": loss}
    targets = {"prediction": train[1]}
    if domains is not None:
        if len(model.gate["gate_logits"].shape) != 2:
            raise ValueError("`domains` supervise a gate per image. This model's gate is per class or per pixel.")
        losses["gate_logits"] = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        targets["gate_logits"] = _check_domains(train[0], domains, model.gate["gate_logits"].shape[-1])
    data = MaskBatches(train[0], targets, recipe.batch_size, recipe.augment, seed=recipe.seed)
    return Stage(
        name=name,
        train=tuple(parts or model.parts),
        epochs=recipe.epochs,
        optimizer=lambda: adamw(recipe, len(data)),
        data=data,
        losses=losses,
        loss_weights={"prediction": 1.0, "gate_logits": recipe.gate_weight} if domains is not None else None,
    )


def train_domain_experts(
    build: collections.abc.Callable[[], MoEModel],
    train: LabelledImages,
    domains: Array,
    folder: Path,
    recipe: Recipe,
    num_experts: int = 2,
    ignore: int | None = IGNORE,
) -> tuple[list[MoEModel], dict[str, list]]:
    """One network per domain, each trained on its domain alone, and resumed where it was cut off.

    Each takes as many steps as one network would for ``recipe.epochs`` passes over all images: a small domain is seen
    more often.

    Args:
        build: ``() -> model``, fresh, that ends in logits: a ``Segmenter``.
        train: ``(images, masks)`` of all domains.
        domains: int array ``(n,)`` in 0…num_experts-1.
        folder: for checkpoints; one folder, one run.
        recipe: a ``Recipe``, that of each expert.
        num_experts: int.
        ignore: int, the label that no loss counts.

    Returns:
        ``(networks, history)``: the trained networks in the order of the domains, and a dict, ``"expert_<k>"`` -> list
        of logs, one dict of floats per epoch.

    Raises:
        ValueError: a domain without a batch of images, or masks that do not fit; before anything is trained.
    """
    num_experts = integer("train_domain_experts", "num_experts", num_experts, 1)
    ignore = integer("train_domain_experts", "ignore", ignore, or_none=True)
    domains = _check_domains(train[0], domains, num_experts)
    stages = []
    for k in range(num_experts):
        network, own = build(), domains == k
        epochs = round(recipe.epochs * len(domains) / max(own.sum(), 1))
        settings = dataclasses.replace(recipe, epochs=epochs, seed=recipe.seed * num_experts + k)
        data = (train[0][own], train[1][own])
        try:
            stages.append((network, segmentation_stage(network, settings, data, ignore=ignore, name=f"expert_{k}")))
        except ValueError as error:
            raise ValueError(f"Domain {k}: {error}") from error
    history: dict[str, list] = {}
    for network, stage in stages:
        history |= run_stages(network, [stage], pathlib.Path(folder, stage.name))
    return [network for network, _ in stages], history


def train_segmentation(
    model: SegmentationMoE,
    experts: collections.abc.Sequence[keras.Model],
    train: LabelledImages,
    folder: Path,
    recipe: Recipe,
    domains: Array | None = None,
    ignore: int | None = IGNORE,
) -> dict[str, list]:
    """Trains gate and ensembler of a ``SegmentationMoE`` around trained experts, which stay as they are.

    Frozen means BatchNorm's statistics too.

    Args:
        model: a ``SegmentationMoE`` that ends in logits.
        experts: list of trained networks, one per expert, see ``init_from_networks``.
        train: ``(images, masks)`` of all domains.
        folder: for checkpoints; one folder, one run.
        recipe: a ``Recipe``, that of the gate.
        domains, ignore: as for ``segmentation_stage``.

    Returns:
        dict, ``"gate"`` -> list of logs.

    Raises:
        ValueError: experts or masks that do not fit the model; before anything is trained.
    """
    ignore = integer("train_segmentation", "ignore", ignore, or_none=True)
    stage = segmentation_stage(model, recipe, train, domains, ignore, "gate", ("gate", "ensembler"))
    model.init_from_networks(experts)
    return run_stages(model, [stage], folder)


def _check_sizes(model, images, masks):
    takes, answers = model.input_shape[1:], model.output_shape[1:3]
    for what, needed, received in (("images", takes, images.shape[1:]), ("masks", answers, masks.shape[1:])):
        if any(a not in (None, b) for a, b in zip(needed, received, strict=True)):
            raise ValueError(f"Expected {what} of shape {needed}, those of {model.name!r}. Received: {received}")


def _check_domains(images, domains, experts):
    domains = np.asarray(domains)
    if domains.shape != (len(images),) or domains.dtype.kind not in "iu":
        raise ValueError(f"Expected one integer domain for each of {len(images)} images. Received: {domains.shape}")
    counts = np.bincount(np.clip(domains, 0, experts), minlength=experts)
    if domains.min() < 0 or len(counts) > experts or counts.min() == 0:
        raise ValueError(
            f"Expected every domain in 0…{experts - 1}, one per expert, and each with images. Received: "
            f"{dict(zip(*map(np.ndarray.tolist, np.unique(domains, return_counts=True)), strict=True))}"
        )
    return domains
