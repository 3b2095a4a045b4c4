"""The stages of which the training of super-resolution networks consists."""

import keras

from keras_moe.models.classsr import ClassSR
from keras_moe.training.cost_weight import logits_and_errors
from keras_moe.training.losses import RoutingLoss
from keras_moe.training.patches import PatchBatches
from keras_moe.training.stages import Stage
from keras_moe.training.super_resolution_recipe import Round, SuperResolutionRecipe
from keras_moe.types import Array, LabelledImages

_LOSSES = {"mse": keras.losses.MeanSquaredError, "mae": keras.losses.MeanAbsoluteError}


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


def _gains(model: ClassSR, low: Array, high: Array) -> Array:
    """The mean squared error of all branches less each branch's own, ``(n, branches)``; the largest is the best."""
    errors = logits_and_errors(model, low, high)[1]
    gains: Array = errors.mean(1, keepdims=True) - errors
    return gains


def _adam(rate: float, steps: int) -> keras.optimizers.Adam:
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps, alpha=1e-7 / rate)
    return keras.optimizers.Adam(schedule, beta_1=0.9, beta_2=0.99)
