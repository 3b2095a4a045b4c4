"""ClassSR's stages: branches on their own patches, class module on all, everything together; then as it is used."""

import pathlib
import warnings

import keras
import numpy as np

from keras_moe.layer_state import copy_weights
from keras_moe.models import SuperResolutionNetwork
from keras_moe.models.classsr import ClassSR
from keras_moe.models.super_resolution_branches import start_as_interpolation
from keras_moe.training.cost_curve import fit_cost_weight, logits_and_errors
from keras_moe.training.losses import RoutingLoss
from keras_moe.training.patches import PatchBatches, split_by_psnr
from keras_moe.training.stages import Stage, run_stages
from keras_moe.training.super_resolution_recipe import SuperResolutionRecipe
from keras_moe.types import Array, LabelledImages, Path

# Of patches; a branch that gets fewer has dropped out of the competition.
COLLAPSED = 0.01
_LOSSES = {"mse": keras.losses.MeanSquaredError, "mae": keras.losses.MeanAbsoluteError}


def train_branch(
    network: SuperResolutionNetwork,
    train: LabelledImages,
    validation: LabelledImages,
    folder: Path,
    recipe: SuperResolutionRecipe,
) -> dict[str, list]:
    """Trains one super-resolution network with Adam, and resumes where it was cut off.

    The stage *branch*, then one of the name of each of the recipe's ``rounds``.

    Args:
        network: an ``SuperResolutionNetwork``. An FSRCNN starts as linear interpolation.
        train, validation: ``(low, high)`` patches, see ``cut_patches``.
        folder: for checkpoints; one folder, one run.
        recipe: an ``SuperResolutionRecipe``; what it says of class module and joint training is not used.

    Returns:
        dict, stage -> list of logs.
    """
    _start(network, [network.get_layer("branch")])
    turns = [(turn, *turn.epochs_of(1)) for turn in (recipe.first, *recipe.rounds)]
    stages = [_alone(turn, epochs, train, validation, recipe) for turn, epochs in turns if epochs]
    return run_stages(network, stages, folder, verbose=2)


def train_classsr(
    model: ClassSR,
    train: LabelledImages,
    validation: LabelledImages,
    folder: Path,
    recipe: SuperResolutionRecipe,
    largest: SuperResolutionNetwork | None = None,
) -> dict[str, list]:
    """Trains a ``ClassSR`` in the paper's stages (section 3.4), and resumes where it was cut off.

    1. *branch_k*: each branch alone on its own third of the patches, by bicubic PSNR, the cheapest on the easiest.
    2. *class_module*: the branches frozen; L1 of the softmax-weighted image, class loss and average loss.
    3. *joint*: the same three losses, everything learns.

    Then, where the recipe asks for them, steps that the paper has not:

    4. *errors*: the class module alone learns to tell the squared error of each branch on a patch, less their mean.
       With such logits the knob is a Lagrange multiplier: each patch takes the branch whose error plus weighted cost
       is least. The three losses ask for decided and balanced routes, whatever they gain.
    5. The knob is set for ``recipe.share``.
    6. For each of the recipe's ``rounds``: *<round>_k*, each branch learns on alone from the patches that it gets so
       and, if asked for, from its own third: in use the cheapest gets most patches, and has learned from the easiest
       third. Then *errors_<round>*, and the knob again: the branches' errors have changed.

    Args:
        model: a ``ClassSR``.
        train, validation: ``(low, high)`` patches, see ``cut_patches``.
        folder: for checkpoints; one folder, one run.
        recipe: an ``SuperResolutionRecipe``.
        largest: None or an ``SuperResolutionNetwork`` like the last branch, whose weights that branch starts from.

    Returns:
        dict, stage -> list of logs, with the share of validation patches that each branch gets as ``usage_k``;
        ``"knob"`` and ``"knob_<round>"`` are lists of one ``OperatingPoint`` as a dict.

    Raises:
        ValueError: a share that the model cannot get down to.

    Warns:
        UserWarning: a branch gets less than 1 % of the validation patches: collapse.
    """
    folder, experts = pathlib.Path(folder), model.bank.experts
    _start(model, experts)
    if largest is not None:
        copy_weights(largest.get_layer("branch"), experts[-1])
    thirds = [_parts(split_by_psnr(low, high, len(experts)), len(experts)) for low, high in (train, validation)]
    arguments = (recipe, train, validation)
    history = _train_apart(model, recipe.first, thirds, *arguments, folder)
    stages, joint = [], ("class_module", "branches")
    if recipe.class_epochs:
        stages += [_routed("class_module", joint[:1], *arguments, recipe.class_epochs, recipe.class_batch_size)]
    if recipe.joint_epochs:
        stages += [_routed("joint", joint, *arguments, recipe.joint_epochs, recipe.batch_size)]
    history |= run_stages(model, stages, folder / "routed", verbose=2)
    history |= _choose(model, "", recipe.share, *arguments, folder)
    for turn in recipe.rounds:
        got = [_parts(model.route(low).argmax(axis=1), len(experts)) for low, _ in (train, validation)]
        groups = [list(map(np.union1d, *pair)) for pair in zip(thirds, got, strict=True)] if turn.own_third else got
        history |= _train_apart(model, turn, groups, *arguments, folder)
        history |= _choose(model, f"_{turn.name}", turn.share or recipe.share, *arguments, folder)
    check_collapse(model.route(validation[0].astype("float32")))
    return history


def _start(model, branches):
    if model.get_config()["backbone"] == "fsrcnn":
        for branch in branches:
            start_as_interpolation(branch)


def _parts(group, count):
    """Indices of the members of each of ``count`` groups. ``group``: int ``(n,)``, which one."""
    return [np.flatnonzero(group == k) for k in range(count)]


def _choose(model, suffix, share, recipe, train, validation, folder):
    """The class module learns the branches' errors, and the knob is set for ``share``; each only if asked for."""
    history: dict[str, list] = {}
    if recipe.error_epochs:
        stage = _errors(model, f"errors{suffix}", recipe, train, validation)
        history |= run_stages(model, [stage], folder / stage.name, verbose=2)
    if share is not None:
        budget = share * max(model.macs_by_part()["branches"])
        history[f"knob{suffix}"] = [vars(fit_cost_weight(model, validation[0], validation[1], budget))]
    return history


def _train_apart(model, turn, groups, recipe, train, validation, folder):
    """Each branch alone, from the weights it has, on the patches of its group; without any it stays so.

    ``groups``: for the training and for the validation patches, the indices of those of each branch.
    """
    history, config, experts = {}, model.get_config(), model.bank.experts
    for k, (expert, epochs) in enumerate(zip(experts, turn.epochs_of(len(experts)), strict=True)):
        mine, theirs = ([x[of[k]] for x in pair] for of, pair in zip(groups, (train, validation), strict=True))
        if not len(mine[0]) or not epochs:
            continue
        network = SuperResolutionNetwork(
            config["input_shape"], config["backbone"], config["filters"][k], config["scale"], dtype=config["dtype"]
        )
        branch, stage = network.get_layer("branch"), f"{turn.name}_{k}"
        copy_weights(expert, branch)
        alone = _alone(turn, epochs, mine, theirs, recipe)
        history[stage] = run_stages(network, [alone], folder / stage, verbose=2)[turn.name]
        copy_weights(branch, expert)
    return history


def _alone(turn, epochs, train, validation, recipe):
    """The stage of one network in a ``Round``."""
    low, high = (x.astype("float32") for x in validation)
    return Stage(
        name=turn.name,
        train=("branch",),
        epochs=epochs,
        optimizer=lambda: _adam(turn.learning_rate, epochs * recipe.steps),
        data=PatchBatches(
            train[0],
            train[1],
            steps=recipe.steps,
            batch_size=turn.batch_size,
            seed=recipe.seed,
            recolor_rate=turn.recolor_rate,
        ),
        losses={"prediction": _LOSSES[turn.loss]()},
        validation_data=(low, {"prediction": high}) if len(low) else None,
    )


def check_collapse(route: Array) -> None:
    """Warns where a branch gets less than 1 % of the patches. ``route``: ``(n, branches)`` weights."""
    usage = np.mean(route != 0, axis=0)
    if usage.min() < COLLAPSED:
        shares = ", ".join(f"{u:.1%}" for u in usage)
        warnings.warn(
            f"The class module has collapsed: the branches get {shares} of the patches. Raise "
            "`average_loss_weight`, lower `gate_rate`, or train the branches for longer before it.",
            stacklevel=2,
        )


def _routed(name, parts, recipe, train, validation, epochs, batch_size):
    low, high = (x.astype("float32") for x in validation)
    routing = RoutingLoss(recipe.class_loss_weight, recipe.average_loss_weight)
    return Stage(
        name=name,
        train=parts,
        epochs=epochs,
        optimizer=lambda: _adam(recipe.gate_rate, epochs * recipe.steps),
        data=PatchBatches(
            train[0],
            train[1],
            outputs=("prediction", "gate_logits"),
            steps=recipe.steps,
            batch_size=batch_size,
            seed=recipe.seed,
        ),
        losses={"prediction": keras.losses.MeanAbsoluteError(), "gate_logits": routing},
        loss_weights={"prediction": recipe.image_weight / 255, "gate_logits": 1.0},  # the model's output is in [0, 255]
        validation_data=(low, {"prediction": high, "gate_logits": high}),
    )


def _errors(model, name, recipe, train, validation):
    held = _gains(model, *validation)
    unit = max(float(held.std()), 1e-6)

    def data():
        wanted = _gains(model, *train) / unit
        return PatchBatches(train[0], wanted, ("gate_logits",), recipe.steps, recipe.class_batch_size, recipe.seed)

    return Stage(
        name=name,
        train=("class_module",),
        epochs=recipe.error_epochs,
        optimizer=lambda: _adam(recipe.learning_rate, recipe.error_epochs * recipe.steps),
        data=data,
        losses={"gate_logits": keras.losses.MeanSquaredError()},
        validation_data=(validation[0].astype("float32"), {"gate_logits": held / unit}),
    )


def _gains(model, low, high):
    """What each branch spares of the branches' mean squared error, ``(n, branches)``: the largest is the best."""
    errors = logits_and_errors(model, low, high)[1]
    return errors.mean(1, keepdims=True) - errors


def _adam(rate, steps):
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps, alpha=1e-7 / rate)
    return keras.optimizers.Adam(schedule, beta_1=0.9, beta_2=0.99)
