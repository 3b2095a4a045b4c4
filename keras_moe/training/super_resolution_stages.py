"""The stages of which the training of super-resolution networks consists, and the batches of patches that they draw."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_moe.checks import integer, number
from keras_moe.models.classsr import ClassSR
from keras_moe.training.cost_weight import logits_and_errors
from keras_moe.training.losses import RoutingLoss
from keras_moe.training.stages import Stage
from keras_moe.training.super_resolution_recipe import Round, SuperResolutionRecipe
from keras_moe.types import Array, LabelledImages

_LOSSES = {"mse": keras.losses.MeanSquaredError, "mae": keras.losses.MeanAbsoluteError}


class PatchBatches(keras.utils.PyDataset):
    """Batches drawn at random, flipped, turned and recolored; they depend on seed, epoch and position alone.

    Args:
        low, high: as ``cut_patches`` returns them. ``high`` may be another target with a row per patch; only images are
            turned.
        outputs: names of the outputs with ``high`` as their target (see ``Stage.losses``).
        steps: int, batches per epoch.
        batch_size: int.
        seed: int.
        recolor_rate: float in [0, 1], the share of patches that are multiplied by random numbers below 1: one for all
            channels, or one for each. Good photographs hold little black and few saturated colours; a network trained
            without them tints them.

    Attributes:
        epoch: int, from 0; advanced by Keras at the end of each epoch.
    """

    def __init__(
        self,
        low: Array,
        high: Array,
        outputs: Sequence[str] = ("prediction",),
        steps: int = 500,
        batch_size: int = 16,
        seed: int = 0,
        recolor_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.low, self.high, self.outputs, self.epoch = low, high, outputs, 0
        self.steps: int = integer("PatchBatches", "steps", steps, 1)
        self.batch_size = integer("PatchBatches", "batch_size", batch_size, 1)
        self.seed = integer("PatchBatches", "seed", seed, 0)
        self.recolor_rate = number("PatchBatches", "recolor_rate", recolor_rate, 0, 1)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, i: int) -> tuple[Array, dict[str, Array]]:
        rng = np.random.default_rng((self.seed, self.epoch, i))
        rows = rng.integers(len(self.low), size=self.batch_size)
        turns, flip = int(rng.integers(4)), bool(rng.random() < 0.5)
        low, high = (_turned(patches[rows], turns, flip) for patches in (self.low, self.high))
        if self.recolor_rate:
            gain = _random_gains(rng, self.batch_size, self.recolor_rate)
            low, high = (patches * gain for patches in (low, high))
        return low, dict.fromkeys(self.outputs, high)

    def on_epoch_end(self) -> None:
        self.epoch += 1


def branch_stage(
    turn: Round, epochs: int, train: LabelledImages, validation: LabelledImages, recipe: SuperResolutionRecipe
) -> Stage:
    """The stage of one network alone in a ``Round``; ``train``, ``validation``: ``(low, high)`` patches."""
    low, high = (patches.astype("float32") for patches in validation)
    return Stage(
        name=turn.name,
        train=("branch",),
        epochs=epochs,
        optimizer=lambda: _adam(turn.learning_rate, epochs * recipe.steps),
        data=PatchBatches(
            *train,
            steps=recipe.steps,
            batch_size=turn.batch_size,
            seed=recipe.seed,
            recolor_rate=turn.recolor_rate,
        ),
        losses={"prediction": _LOSSES[turn.loss]()},
        validation_data=(low, {"prediction": high}) if len(low) else None,
    )


def routed_stage(
    name: str,
    parts: tuple[str, ...],
    epochs: int,
    batch_size: int,
    train: LabelledImages,
    validation: LabelledImages,
    recipe: SuperResolutionRecipe,
) -> Stage:
    """The stage of ``parts`` under the paper's three losses: L1 of the image, class loss and average loss."""
    low, high = (patches.astype("float32") for patches in validation)
    routing = RoutingLoss(recipe.class_loss_weight, recipe.average_loss_weight)
    return Stage(
        name=name,
        train=parts,
        epochs=epochs,
        optimizer=lambda: _adam(recipe.gate_rate, epochs * recipe.steps),
        data=PatchBatches(
            *train,
            outputs=("prediction", "gate_logits"),
            steps=recipe.steps,
            batch_size=batch_size,
            seed=recipe.seed,
        ),
        losses={"prediction": keras.losses.MeanAbsoluteError(), "gate_logits": routing},
        loss_weights={"prediction": recipe.image_weight / 255, "gate_logits": 1.0},  # the model's output is in [0, 255]
        validation_data=(low, {"prediction": high, "gate_logits": high}),
    )


def errors_stage(
    model: ClassSR, name: str, train: LabelledImages, validation: LabelledImages, recipe: SuperResolutionRecipe
) -> Stage:
    """The stage in which the class module learns each branch's squared error on a patch, less their mean."""
    held_out = _gains(model, *validation)
    unit = max(float(held_out.std()), 1e-6)

    def data() -> PatchBatches:
        gains = _gains(model, *train) / unit
        return PatchBatches(train[0], gains, ("gate_logits",), recipe.steps, recipe.class_batch_size, recipe.seed)

    return Stage(
        name=name,
        train=("class_module",),
        epochs=recipe.error_epochs,
        optimizer=lambda: _adam(recipe.learning_rate, recipe.error_epochs * recipe.steps),
        data=data,
        losses={"gate_logits": keras.losses.MeanSquaredError()},
        validation_data=(validation[0].astype("float32"), {"gate_logits": held_out / unit}),
    )


def _turned(patches: Array, turns: int, flip: bool) -> Array:
    if patches.ndim < 4:
        return patches
    patches = np.rot90(patches, turns, axes=(1, 2))
    return np.ascontiguousarray(patches[:, :, ::-1] if flip else patches)


def _random_gains(rng: np.random.Generator, count: int, share: float) -> Array:
    """Factors of patches, float32 ``(count, 1, 1, 3)``, 1 for all but about ``share`` of them."""
    alike, apart = rng.random((count, 1)), rng.random((count, 3))
    gains = np.where(rng.random((count, 1)) < 0.5, alike, apart)
    gains = np.where(rng.random((count, 1)) < share, gains, 1).astype("float32")
    return gains[:, None, None]


def _gains(model: ClassSR, low: Array, high: Array) -> Array:
    """The mean squared error of all branches less each branch's own, ``(n, branches)``; the largest is the best."""
    errors = logits_and_errors(model, low, high)[1]
    gains: Array = errors.mean(1, keepdims=True) - errors
    return gains


def _adam(rate: float, steps: int) -> keras.optimizers.Adam:
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps, alpha=1e-7 / rate)
    return keras.optimizers.Adam(schedule, beta_1=0.9, beta_2=0.99)
