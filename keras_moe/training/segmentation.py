"""Training of domain experts and of the gate between them (SAIAD at CVPR 2020, pp. 342-343), in frozen stages."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_moe.checks import integer
from keras_moe.labels import check_masks
from keras_moe.metrics import IGNORE
from keras_moe.models.base import MoEModel
from keras_moe.models.segmentation import SegmentationMoE
from keras_moe.training.classification import Recipe, adamw
from keras_moe.training.mask_batches import MaskBatches
from keras_moe.training.stages import History, Stage, run_stages
from keras_moe.types import Array, LabelledImages, Path


def segmentation_stage(
    model: MoEModel,
    recipe: Recipe,
    train: LabelledImages,
    domains: Array | None = None,
    ignore: int | None = IGNORE,
    name: str = "segment",
    parts: Sequence[str] | None = None,
    loss: keras.losses.Loss | None = None,
) -> Stage:
    """The ``Stage`` that trains ``parts`` of ``model`` on images with masks, by default by cross-entropy per pixel.

    Args:
        model: an ``MoEModel`` from images to logits ``(n, h, w, classes)`` (``classifier_activation=None``).
        recipe: a ``Recipe``.
        train: ``(images, masks)``: uint8 ``(n, h, w, c)`` and integers ``(n, h, w)``.
        domains: int array ``(n,)``, the expert for each image. They supervise a gate per image, weighted by
            ``recipe.gate_weight``. None: the gate learns from the masks alone, as in the paper.
        ignore: int, the label that the loss does not count.
        name: of the stage.
        parts: names of the parts to train; None: all.
        loss: a Keras loss of masks and logits, such as ``StructureLoss``; None: cross-entropy.

    Raises:
        ValueError: masks that do not fit images or classes, images or masks of another size than the model's, or
            domains for a gate per class or per pixel.

    Example:
        >>> (images, masks, domains), _ = datasets.digit_scenes()
        >>> model = models.Segmenter((16, 16, 1), classes=4, alpha=0.25, classifier_activation=None)
        >>> stage = training.segmentation_stage(model, training.Recipe(epochs=2, batch_size=8), (images, masks))
        >>> stage.name, list(stage.losses)
        ('segment', ['prediction'])
    """
    ignore = integer("segmentation_stage", "ignore", ignore, or_none=True)
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
    data = MaskBatches(train[0], targets, recipe.batch_size, recipe.augment, recipe.mask_views, recipe.seed)
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
    build: Callable[[], MoEModel],
    train: LabelledImages,
    domains: Array,
    folder: Path,
    recipe: Recipe,
    num_experts: int = 2,
    ignore: int | None = IGNORE,
    verbose: str | int = "auto",
) -> tuple[list[MoEModel], History]:
    """One network per domain, each trained on its domain alone; the same call resumes an interrupted run.

    Each takes as many steps as ``recipe.epochs`` passes over all images: the images of a small domain are seen more
    often.

    Args:
        build: ``() -> model``, a fresh network that ends in logits, such as a ``Segmenter``.
        train: ``(images, masks)`` of all domains.
        domains: int array ``(n,)`` in 0…num_experts-1.
        folder: for checkpoints; one folder, one run.
        recipe: the ``Recipe`` of each expert.
        num_experts: int.
        ignore: int, the label that no loss counts.
        verbose: as in ``fit``.

    Returns:
        ``(networks, history)``: the trained networks in the order of the domains, and a dict, ``"expert_<k>"`` -> list
        of logs, one dict of floats per epoch.

    Raises:
        ValueError: a domain without a batch of images, or masks that do not fit; before anything is trained.

    Example:
        >>> (images, masks, domains), _ = datasets.digit_scenes()
        >>> build = lambda: models.Segmenter((16, 16, 1), classes=4, alpha=0.25, classifier_activation=None)
        >>> recipe, few = training.Recipe(epochs=1, batch_size=8), slice(32)
        >>> networks, history = training.train_domain_experts(
        ...     build, (images[few], masks[few]), domains[few], "run", recipe, verbose=0
        ... )
        >>> len(networks), list(history)
        (2, ['expert_0', 'expert_1'])
    """
    num_experts = integer("train_domain_experts", "num_experts", num_experts, 1)
    ignore = integer("train_domain_experts", "ignore", ignore, or_none=True)
    domains = _check_domains(train[0], domains, num_experts)
    stages = []
    for k in range(num_experts):
        network, of_domain = build(), domains == k
        epochs = round(recipe.epochs * len(domains) / max(of_domain.sum(), 1))
        settings = dataclasses.replace(recipe, epochs=epochs, seed=recipe.seed * num_experts + k)
        data = (train[0][of_domain], train[1][of_domain])
        try:
            stages.append((network, segmentation_stage(network, settings, data, ignore=ignore, name=f"expert_{k}")))
        except ValueError as error:
            raise ValueError(f"Domain {k}: {error}") from error
    history: History = {}
    for network, stage in stages:
        history |= run_stages(network, [stage], pathlib.Path(folder, stage.name), verbose=verbose)
    return [network for network, _ in stages], history


def train_segmentation(
    model: SegmentationMoE,
    experts: Sequence[keras.Model],
    train: LabelledImages,
    folder: Path,
    recipe: Recipe,
    domains: Array | None = None,
    ignore: int | None = IGNORE,
    verbose: str | int = "auto",
) -> History:
    """Trains gate and ensembler of a ``SegmentationMoE`` around trained, frozen experts.

    BatchNorm's statistics are frozen too.

    Args:
        model: a ``SegmentationMoE`` that ends in logits.
        experts: list of trained networks, one per expert, see ``init_from_networks``.
        train: ``(images, masks)`` of all domains.
        folder: for checkpoints; one folder, one run.
        recipe: the ``Recipe`` of the gate.
        domains, ignore: as for ``segmentation_stage``.
        verbose: as in ``fit``.

    Returns:
        dict, ``"gate"`` -> list of logs.

    Raises:
        ValueError: experts or masks that do not fit the model; before anything is trained.

    Example:
        >>> (images, masks, _), _ = datasets.digit_scenes()
        >>> config = {"input_shape": (16, 16, 1), "classes": 4, "alpha": 0.25, "classifier_activation": None}
        >>> experts = [models.Segmenter(**config), models.Segmenter(**config)]
        >>> model = models.SegmentationMoE(**config, num_experts=2)
        >>> recipe, train = training.Recipe(epochs=1, batch_size=8), (images[:16], masks[:16])
        >>> list(training.train_segmentation(model, experts, train, "run", recipe, verbose=0))
        ['gate']
    """
    ignore = integer("train_segmentation", "ignore", ignore, or_none=True)
    stage = segmentation_stage(model, recipe, train, domains, ignore, "gate", ("gate", "ensembler"))
    model.init_from_networks(experts)
    return run_stages(model, [stage], folder, verbose=verbose)


def _check_sizes(model: MoEModel, images: Array, masks: Array) -> None:
    image, mask = model.input_shape[1:], model.output_shape[1:3]
    for kind, needed, received in (("images", image, images.shape[1:]), ("masks", mask, masks.shape[1:])):
        if any(a not in (None, b) for a, b in zip(needed, received, strict=True)):
            raise ValueError(f"Expected {kind} of shape {needed} for {model.name!r}. Received: {received}")


def _check_domains(images: Array, domains: Array, experts: int) -> Array:
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
