"""ClassSR's stages: branches on their own patches, class module on all, everything together; then as it is used."""

import dataclasses
import pathlib
import warnings

import keras
import numpy as np

from keras_moe.models import SRNetwork
from keras_moe.models.sr_branches import start_as_interpolation
from keras_moe.training.cost_curve import fit_cost_weight, logits_and_errors
from keras_moe.training.losses import RoutingLoss
from keras_moe.training.patches import PatchBatches, split_by_psnr
from keras_moe.training.stages import Stage, run_stages

# Of patches; a branch that gets fewer has dropped out of the competition.
COLLAPSED = 0.01


@dataclasses.dataclass(frozen=True)
class SRRecipe:
    """Settings of ClassSR's training; the rates, but for ``used_rate``, are the paper's for FSRCNN.

    Args:
        branch_epochs, class_epochs, joint_epochs: ints, epochs of each stage; 0 joint epochs leave that stage out.
        error_epochs: int, epochs of the class module on the errors that the branches make; 0 leave that stage out.
        used_epochs: int, epochs of each branch, or of a single network, on what it gets in use, half of the patches
            recoloured (see ``PatchBatches``); 0 leave that stage out.
        longer_epochs: int, epochs of the cheapest branch, which gets most patches, once more in that way, at
            ``learning_rate``; 0 leave that stage out.
        squared_epochs: int, epochs of a single network, or of the cheapest branch, at the end in that way but with
            squared errors, the ones that PSNR tells; 0 leave that stage out.
        share: float in (0, 1], what a patch costs in use, of the largest branch's MACs: the knob is set to it on the
            validation patches once the class module is trained. None: the knob stays where it is.
        steps: int, batches an epoch.
        batch_size: int, of branches and of the joint stage; class_batch_size: of the class module alone.
        learning_rate: float, of the branches alone and of the errors stages; used_rate: of the used stage; gate_rate:
            of the other stages. Each falls by a cosine to 1e-7.
        image_weight: float, of the L1 loss on [0, 1]; decided, balanced: of ``RoutingLoss``.
        seed: int.
    """

    branch_epochs: int
    class_epochs: int
    joint_epochs: int
    error_epochs: int = 0
    used_epochs: int = 0
    longer_epochs: int = 0
    squared_epochs: int = 0
    share: float | None = None
    steps: int = 500
    batch_size: int = 16
    class_batch_size: int = 32
    learning_rate: float = 1e-3
    used_rate: float = 5e-4
    gate_rate: float = 2e-4
    image_weight: float = 1000.0
    decided: float = 0.5
    balanced: float = 3.0
    seed: int = 0


def train_branch(network, train, validation, folder, recipe):
    """Trains one super-resolution network with Adam, and resumes where it was cut off.

    The stages *branch* and, if the recipe asks for them, *used* and *squared*: see ``SRRecipe``.

    Args:
        network: an ``SRNetwork``. An FSRCNN starts as linear interpolation.
        train, validation: ``(low, high)`` patches, see ``cut_patches``.
        folder: for checkpoints; one folder, one run.
        recipe: an ``SRRecipe``; what it says of class module and joint training is not used.

    Returns:
        dict, stage -> list of logs.
    """
    _start(network, [network.get_layer("branch")])
    epochs = {"branch": recipe.branch_epochs, "used": recipe.used_epochs, "squared": recipe.squared_epochs}
    stages = [_alone(name, train, validation, recipe, count) for name, count in epochs.items() if count]
    return run_stages(network, stages, folder, verbose=2)


def train_classsr(model, train, validation, folder, recipe):
    """Trains a ``ClassSR`` in the paper's stages (section 3.4), and resumes where it was cut off.

    1. *branch_k*: each branch alone on its own third of the patches, by bicubic PSNR, the cheapest on the easiest.
    2. *class_module*: the branches frozen; L1 of the softmax-weighted image, class loss and average loss.
    3. *joint*: the same three losses, everything learns.

    Then, where the recipe asks for them, steps that the paper has not:

    4. *errors*: the class module alone learns to tell the squared error of each branch on a patch, less their mean.
       With such logits the knob is a Lagrange multiplier: each patch takes the branch whose error plus weighted cost
       is least. The three losses ask for decided and balanced routes, whatever they gain.
    5. The knob is set for ``recipe.share``.
    6. *used_k*: each branch learns on alone from the patches that it gets so and from its own third: in use the
       cheapest gets most patches, and has learned from the easiest third.
    7. *errors_used*, and the knob again: the branches' errors have changed.
    8. *longer_0*: the cheapest branch as in 6, for longer; then *errors_longer* and the knob.
    9. *squared_0*: the cheapest branch as in 8, with squared errors; then *errors_squared* and the knob.

    Args:
        model: a ``ClassSR``.
        train, validation: ``(low, high)`` patches, see ``cut_patches``.
        folder: for checkpoints; one folder, one run.
        recipe: an ``SRRecipe``.

    Returns:
        dict, stage -> list of logs, with the share of validation patches that each branch gets as ``usage_k``;
        ``"knob"``, ``"knob_used"``, ``"knob_longer"`` and ``"knob_squared"`` are lists of one ``CostPoint`` as a dict.

    Raises:
        ValueError: a share that the model cannot get down to.

    Warns:
        UserWarning: a branch gets less than 1 % of the validation patches: collapse.
    """
    folder, experts = pathlib.Path(folder), model.bank.experts
    _start(model, experts)
    thirds = [_parts(split_by_psnr(low, high, len(experts)), len(experts)) for low, high in (train, validation)]
    everyone = range(len(experts))
    history = _train_apart(model, "branch", everyone, thirds, train, validation, folder, recipe, recipe.branch_epochs)
    arguments = (recipe, train, validation)
    stages = [
        _routed("class_module", ("class_module",), *arguments, recipe.class_epochs, recipe.class_batch_size),
        _routed("joint", ("class_module", "branches"), *arguments, recipe.joint_epochs, recipe.batch_size),
    ]
    history |= run_stages(model, [s for s in stages if s.epochs], folder / "routed", verbose=2)
    history |= _choose(model, "", *arguments, folder)
    check_collapse(model.route(validation[0].astype("float32")))
    in_use = (
        ("used", everyone, recipe.used_epochs),
        ("longer", (0,), recipe.longer_epochs),
        ("squared", (0,), recipe.squared_epochs),
    )
    for stage, branches, epochs in in_use:
        if epochs:
            history |= _in_use(model, stage, branches, epochs, thirds, *arguments, folder)
    return history


def _start(model, branches):
    if model.get_config()["backbone"] == "fsrcnn":
        for branch in branches:
            start_as_interpolation(branch)


def _parts(group, count):
    """Indices of the members of each of ``count`` groups. ``group``: int ``(n,)``, which one."""
    return [np.flatnonzero(group == k) for k in range(count)]


def _choose(model, suffix, recipe, train, validation, folder):
    """The class module learns the branches' errors, and the knob is set; each only if the recipe asks for it."""
    history: dict[str, list] = {}
    if recipe.error_epochs:
        stage = _errors(model, f"errors{suffix}", recipe, train, validation)
        history |= run_stages(model, [stage], folder / stage.name, verbose=2)
    if recipe.share is not None:
        budget = recipe.share * max(model.macs()["branches"])
        history[f"knob{suffix}"] = [vars(fit_cost_weight(model, validation[0], validation[1], budget))]
    return history


def _in_use(model, stage, branches, epochs, thirds, recipe, train, validation, folder):
    """Branches alone on what they get in use and their own third; then the class module and the knob again."""
    count = len(model.bank.experts)
    got = [_parts(model.route(low).argmax(axis=1), count) for low, _ in (train, validation)]
    groups = [list(map(np.union1d, *pair)) for pair in zip(thirds, got, strict=True)]
    history = _train_apart(model, stage, branches, groups, train, validation, folder, recipe, epochs)
    return history | _choose(model, f"_{stage}", recipe, train, validation, folder)


def _train_apart(model, stage, branches, groups, train, validation, folder, recipe, epochs):
    """Each of ``branches`` alone, from the weights it has, on the patches of its group; without any it stays so.

    ``groups``: for the training and for the validation patches, the indices of those of each branch.
    """
    history, config = {}, model.get_config()
    for k in branches:
        expert = model.bank.experts[k]
        mine, theirs = ([x[of[k]] for x in pair] for of, pair in zip(groups, (train, validation), strict=True))
        if not len(mine[0]):
            continue
        network = SRNetwork(config["input_shape"], config["backbone"], config["filters"][k], config["scale"])
        branch = network.get_layer("branch")
        branch.set_weights(expert.get_weights())
        alone = _alone(stage, mine, theirs, recipe, epochs)
        history[f"{stage}_{k}"] = run_stages(network, [alone], folder / f"{stage}_{k}", verbose=2)[stage]
        expert.set_weights(branch.get_weights())
    return history


def _alone(name, train, validation, recipe, epochs):
    """The stage ``"branch"``, ``"used"``, ``"longer"`` or ``"squared"`` of one network."""
    low, high = (x.astype("float32") for x in validation)
    settings = {"steps": recipe.steps, "batch_size": recipe.batch_size, "seed": recipe.seed}
    loss = keras.losses.MeanSquaredError() if name == "squared" else keras.losses.MeanAbsoluteError()
    rate, share = recipe.used_rate if name == "used" else recipe.learning_rate, 0.0 if name == "branch" else 0.5
    return Stage(
        name=name,
        train=("branch",),
        epochs=epochs,
        optimizer=lambda: _adam(rate, epochs * recipe.steps),
        data=PatchBatches(train[0], train[1], recoloured=share, **settings),
        losses={"class": loss},
        validation_data=(low, {"class": high}) if len(low) else None,
    )


def check_collapse(route):
    """Warns where a branch gets less than 1 % of the patches. ``route``: ``(n, branches)`` weights."""
    usage = np.mean(route != 0, axis=0)
    if usage.min() < COLLAPSED:
        shares = ", ".join(f"{u:.1%}" for u in usage)
        warnings.warn(
            f"The class module has collapsed: the branches get {shares} of the patches. Raise `balanced`, lower "
            "`gate_rate`, or train the branches for longer before it.",
            stacklevel=2,
        )


def _routed(name, parts, recipe, train, validation, epochs, batch_size):
    low, high = (x.astype("float32") for x in validation)
    return Stage(
        name=name,
        train=parts,
        epochs=epochs,
        optimizer=lambda: _adam(recipe.gate_rate, epochs * recipe.steps),
        data=PatchBatches(train[0], train[1], ("class", "gate"), recipe.steps, batch_size, recipe.seed),
        losses={"class": keras.losses.MeanAbsoluteError(), "gate": RoutingLoss(recipe.decided, recipe.balanced)},
        loss_weights={"class": recipe.image_weight / 255, "gate": 1.0},  # the model's output is in [0, 255]
        validation_data=(low, {"class": high, "gate": high}),
    )


def _errors(model, name, recipe, train, validation):
    def target(pair):
        """Minus the errors, so that the largest is the best branch."""
        errors = logits_and_errors(model, *pair)[1]
        return errors.mean(1, keepdims=True) - errors

    wanted, held = target(train), target(validation)
    unit = max(float(wanted.std()), 1e-6)
    return Stage(
        name=name,
        train=("class_module",),
        epochs=recipe.error_epochs,
        optimizer=lambda: _adam(recipe.learning_rate, recipe.error_epochs * recipe.steps),
        data=PatchBatches(train[0], wanted / unit, ("gate",), recipe.steps, recipe.class_batch_size, recipe.seed),
        losses={"gate": keras.losses.MeanSquaredError()},
        validation_data=(validation[0].astype("float32"), {"gate": held / unit}),
    )


def _adam(rate, steps):
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps, alpha=1e-7 / rate)
    return keras.optimizers.Adam(schedule, beta_1=0.9, beta_2=0.99)
