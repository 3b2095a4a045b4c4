"""The training of ClassSR: branches apart, the class module, both together, then branches on the patches of use."""

import dataclasses
import pathlib
import warnings
from collections.abc import Sequence

import keras
import numpy as np

from keras_moe.datasets.patches import split_by_psnr
from keras_moe.layer_state import copy_weights
from keras_moe.models import MoEModel, SuperResolutionNetwork
from keras_moe.models.classsr import ClassSR
from keras_moe.models.super_resolution_branches import start_as_interpolation
from keras_moe.training.cost_weight import fit_cost_weight
from keras_moe.training.stages import History, Stage, run_stages
from keras_moe.training.super_resolution_recipe import Round, SuperResolutionRecipe
from keras_moe.training.super_resolution_stages import branch_stage, errors_stage, routed_stage
from keras_moe.types import Array, LabelledImages, Path

# Share of patches; a branch that gets fewer has dropped out of the competition.
COLLAPSED = 0.01


def train_branch(
    network: SuperResolutionNetwork,
    train: LabelledImages,
    validation: LabelledImages,
    folder: Path,
    recipe: SuperResolutionRecipe,
    verbose: str | int = 2,
) -> History:
    """Trains one super-resolution network with Adam; the same call resumes an interrupted run.

    The first stage is *branch*; each of the recipe's ``rounds`` is a further stage, of its name.

    Args:
        network: a ``SuperResolutionNetwork``. An FSRCNN starts as linear interpolation.
        train, validation: ``(low, high)`` patches, see ``cut_patches``.
        folder: for checkpoints; one folder, one run.
        recipe: a ``SuperResolutionRecipe``; its settings of class module and joint training are not used.
        verbose: as in ``fit``.

    Returns:
        dict, stage -> list of logs.

    Example:
        >>> photograph = np.random.default_rng(0).integers(0, 256, (64, 64, 3), "uint8")
        >>> patches = datasets.cut_patches([photograph], scale=2, patch=16)
        >>> network = models.SuperResolutionNetwork((16, 16, 3), filters=4, scale=2)
        >>> recipe = training.SuperResolutionRecipe(1, class_epochs=0, joint_epochs=0, steps=2, batch_size=4)
        >>> list(training.train_branch(network, patches, patches, "run", recipe, verbose=0))
        ['branch']
    """
    run = _Run(recipe, train, validation, pathlib.Path(folder), verbose)
    _start(network, [network.get_layer("branch")])
    turns = [(turn, turn.epochs_of(1)[0]) for turn in (recipe.first, *recipe.rounds)]
    return run.stages(network, [branch_stage(turn, n, train, validation, recipe) for turn, n in turns if n])


def train_classsr(
    model: ClassSR,
    train: LabelledImages,
    validation: LabelledImages,
    folder: Path,
    recipe: SuperResolutionRecipe,
    largest: SuperResolutionNetwork | None = None,
    verbose: str | int = 2,
) -> History:
    """Trains a ``ClassSR`` in the paper's stages (section 3.4); the same call resumes an interrupted run.

    1. *branch_k*: each branch alone on its own third of the patches, by bicubic PSNR, the cheapest on the easiest.
    2. *class_module*: the branches frozen; L1 of the softmax-weighted image, class loss and average loss.
    3. *joint*: the same three losses, everything learns.

    Further steps, which the paper does not have, if the recipe asks for them:

    4. *errors*: the class module alone learns the squared error of each branch on a patch, less their mean. With such
       logits the knob is a Lagrange multiplier: each patch takes the branch with the least sum of error and weighted
       cost. The three losses ask for decided and balanced routes, whether or not these reduce the error.
    5. The knob is set for ``recipe.share``.
    6. For each of the recipe's ``rounds``: *<round>_k*, each branch learns alone from the patches that the class module
       sends it and, with ``own_third``, from its own third: in use the cheapest branch gets most patches, but has
       learned from the easiest third. Then *errors_<round>* and the knob again, because the errors have changed.

    Args:
        model: a ``ClassSR``.
        train, validation: ``(low, high)`` patches, see ``cut_patches``.
        folder: for checkpoints; one folder, one run.
        recipe: a ``SuperResolutionRecipe``.
        largest: a ``SuperResolutionNetwork`` like the last branch, which starts from its weights; or None.
        verbose: as in ``fit``.

    Returns:
        dict, stage -> list of logs, with the share of validation patches of each branch as ``usage_k``;
        ``"knob"`` and ``"knob_<round>"`` are lists of one ``OperatingPoint`` as a dict.

    Raises:
        ValueError: a share below the cost of the cheapest branch.

    Warns:
        UserWarning: a branch gets less than 1 % of the validation patches: collapse.

    Example:
        >>> photographs = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), "uint8")
        >>> train, validation = (datasets.cut_patches([photo], scale=2, patch=16) for photo in photographs)
        >>> model = models.ClassSR((16, 16, 3), filters=(4, 12), scale=2, class_filters=8)
        >>> recipe = training.SuperResolutionRecipe(1, class_epochs=1, joint_epochs=0, share=0.8, steps=2, batch_size=4)
        >>> list(training.train_classsr(model, train, validation, "run", recipe, verbose=0))
        ['branch_0', 'branch_1', 'class_module', 'knob']
    """
    run, experts = _Run(recipe, train, validation, pathlib.Path(folder), verbose), model.bank.experts
    _start(model, experts)
    if largest is not None:
        copy_weights(largest.get_layer("branch"), experts[-1])
    thirds = [_members(split_by_psnr(low, high, len(experts)), len(experts)) for low, high in (train, validation)]
    history = _train_apart(run, model, recipe.first, thirds)
    history |= run.stages(model, _paper_stages(run), "routed")
    history |= _fit_errors(run, model, "", recipe.share)
    for turn in recipe.rounds:
        sent = [_members(model.route(low).argmax(axis=1), len(experts)) for low, _ in (train, validation)]
        groups = [list(map(np.union1d, *pair)) for pair in zip(thirds, sent, strict=True)] if turn.own_third else sent
        history |= _train_apart(run, model, turn, groups)
        history |= _fit_errors(run, model, f"_{turn.name}", turn.share or recipe.share)
    check_collapse(model.route(validation[0].astype("float32")))
    return history


def check_collapse(route: Array) -> None:
    """Warns if a branch gets less than 1 % of the patches. ``route``: ``(n, branches)`` weights."""
    usage = np.mean(route != 0, axis=0)
    if usage.min() < COLLAPSED:
        shares = ", ".join(f"{u:.1%}" for u in usage)
        warnings.warn(
            f"The class module has collapsed: the branches get {shares} of the patches. Raise "
            "`average_loss_weight`, lower `gate_rate`, or train the branches for longer before it.",
            stacklevel=2,
        )


@dataclasses.dataclass(frozen=True)
class _Run:
    """One training: its settings, its patches and its folder."""

    recipe: SuperResolutionRecipe
    train: LabelledImages
    validation: LabelledImages
    folder: pathlib.Path
    verbose: str | int

    def stages(self, model: MoEModel, stages: Sequence[Stage], name: str = "") -> History:
        """Runs ``stages``, with the checkpoint in the sub-folder ``name``."""
        return run_stages(model, stages, self.folder / name, verbose=self.verbose)


def _start(model: ClassSR | SuperResolutionNetwork, branches: Sequence[keras.Layer]) -> None:
    if model.get_config()["backbone"] == "fsrcnn":
        for branch in branches:
            start_as_interpolation(branch)


def _members(group: Array, count: int) -> list[Array]:
    """Indices of the members of each of ``count`` groups. ``group``: int ``(n,)``, the group of each row."""
    return [np.flatnonzero(group == k) for k in range(count)]


def _paper_stages(run: _Run) -> list[Stage]:
    recipe, joint = run.recipe, ("class_module", "branches")
    plan = (
        ("class_module", joint[:1], recipe.class_epochs, recipe.class_batch_size),
        ("joint", joint, recipe.joint_epochs, recipe.batch_size),
    )
    return [
        routed_stage(name, parts, epochs, batch_size, run.train, run.validation, recipe)
        for name, parts, epochs, batch_size in plan
        if epochs
    ]


def _fit_errors(run: _Run, model: ClassSR, suffix: str, share: float | None) -> History:
    """The class module learns the branches' errors, and the knob is set for ``share``; each only if asked for."""
    history: History = {}
    if run.recipe.error_epochs:
        stage = errors_stage(model, f"errors{suffix}", run.train, run.validation, run.recipe)
        history |= run.stages(model, [stage], stage.name)
    if share is not None:
        budget = share * float(np.max(model.macs_by_part()["branches"]))
        history[f"knob{suffix}"] = [dataclasses.asdict(fit_cost_weight(model, *run.validation, budget))]
    return history


def _train_apart(run: _Run, model: ClassSR, turn: Round, groups: list[list[Array]]) -> History:
    """Each branch alone, from its present weights, on the patches of its group; an empty group leaves it unchanged.

    ``groups``: for the training and for the validation patches, the indices of those of each branch.
    """
    history: History = {}
    config, experts = model.get_config(), model.bank.experts
    for k, (expert, epochs) in enumerate(zip(experts, turn.epochs_of(len(experts)), strict=True)):
        (low, high), held_out = (
            (pair[0][members[k]], pair[1][members[k]])
            for members, pair in zip(groups, (run.train, run.validation), strict=True)
        )
        if not len(low) or not epochs:
            continue
        network = SuperResolutionNetwork(
            config["input_shape"], config["backbone"], config["filters"][k], config["scale"], dtype=config["dtype"]
        )
        branch, stage = network.get_layer("branch"), f"{turn.name}_{k}"
        copy_weights(expert, branch)
        alone = branch_stage(turn, epochs, (low, high), held_out, run.recipe)
        history[stage] = run.stages(network, [alone], stage)[turn.name]
        copy_weights(branch, expert)
    return history
