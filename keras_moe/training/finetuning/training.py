"""The stages of one fine-tuning in their order, each with a checkpoint of its own, so that a killed run goes on."""

import dataclasses
import pathlib
from collections.abc import Sequence

import keras

from keras_moe.datasets import LabelledFiles
from keras_moe.datasets.files.labelled_files import SPLIT_THEM
from keras_moe.models import Classifier, MoEModel, SingleGatedMoE
from keras_moe.models.growth import grow_from
from keras_moe.training.classification import Recipe
from keras_moe.training.features import behind
from keras_moe.training.finetuning import phases
from keras_moe.training.finetuning.features import Part, cached_part
from keras_moe.training.finetuning.measuring import Measured, check_budget, measured
from keras_moe.training.finetuning.phases import Learning, feature_stage, file_stage
from keras_moe.training.finetuning.plan import Clock, FineTuningSettings
from keras_moe.training.finetuning.progress import fit_verbosity, say, track
from keras_moe.training.finetuning.start import Start, rebuilt
from keras_moe.training.stages import History, Stage, run_stages
from keras_moe.types import Array


@dataclasses.dataclass(frozen=True)
class Learned:
    """A network that has learned.

    Args:
        model: the network, which ends in probabilities.
        rest: what is left of it behind the trunk.
        val, test: a ``Part`` each, with features of the trunk as it is now.
        groups: int ``(classes,)``, the expert that each class was meant for, or None.
        reference: the dense network that taught it, on the test part, or None.
        history: logs by stage.
    """

    model: MoEModel
    rest: MoEModel
    val: Part
    test: Part
    groups: Array | None
    reference: Measured | None
    history: History


class Training:
    """One fine-tuning.

    Args:
        start: the ``Start``.
        files: the ``LabelledFiles``.
        settings: the ``FineTuningSettings``.
        work: folder for features and checkpoints.
        verbose: bool.

    Raises:
        ValueError: a budget that the network cannot meet, or no dense network to train where one is wanted.
    """

    def __init__(
        self, start: Start, files: LabelledFiles, settings: FineTuningSettings, work: pathlib.Path, verbose: bool
    ) -> None:
        if settings.dense and start.dense is None:
            raise ValueError(f"finetune: dense=True starts from a backbone or a Classifier. Received: {start.name}")
        empty = [part for part in ("val", "test") if not len(files.rows(part))]
        if empty:
            raise ValueError(
                f"finetune: no images are left for {' and '.join(empty)}. Images of classes without one to learn from "
                f"are left out, and images that look alike stay in one part ({SPLIT_THEM}). Give more, or folders "
                "train, val and test."
            )
        self.start, self.files, self.settings, self.work, self.verbose = start, files, settings, work, verbose
        self.clock = Clock(work, settings.minutes)
        self.count = len(files.rows("train"))
        self.history: History = {}
        self.model = _plain(start.dense) if settings.dense and start.dense else start.make_mixture()
        check_budget(self.model, settings.budget)

    def learn(self) -> Learned:
        """Runs every stage, or those that are left."""
        dense, reference = self.start.dense, None
        frozen = self.start.frozen if dense is None else "stem"
        trunk, rest = behind(self.model if dense is None else dense, frozen)
        parts = {part: self._part(part, trunk, "features") for part in ("train", "val", "test")}
        learning = Learning(parts["train"], parts["val"], len(self.files.classes))
        if dense is not None:
            stages = [self._head("dense_head", learning), self._tail("dense", learning, list(rest.parts))]
            self._run("dense", rest, stages)
            if not self.settings.dense:
                reference = measured(dense, rest, parts["test"])
                learning = dataclasses.replace(
                    learning, teacher_predictions=phases.predictions_of_views(rest, parts["train"].views)
                )
        if self.model.bank is not None:
            learning = self._learn_mixture(learning)
        elif dense is not None:
            grow_from(self.model, dense)
        self._run("all", self.model, [file_stage("all", self._recipe(phases.ALL, 4), self.model, learning)])
        return self._served(learning.groups, reference)

    def _learn_mixture(self, learning: Learning) -> Learning:
        model, train, rest = self.model, learning.train, behind(self.model, self.start.frozen)[1]
        experts = min(len(model.bank.experts), len(self.files.classes))
        groups = phases.class_groups(train.views[0], train.labels, experts)
        grow_from(model, self._what_branches_start_as(learning))
        learning = dataclasses.replace(learning, groups=groups)
        parts = ["gate", "experts"] if isinstance(model, SingleGatedMoE) else list(rest.parts)
        gate = phases.gate_stage(self._recipe(phases.GATE, 2), learning)
        self._run("mixture", rest, [gate, self._tail("mixture", learning, parts, 2 if self.start.make_thin else 1)])
        return learning

    def _what_branches_start_as(self, learning: Learning) -> MoEModel:
        """A network of one such branch that has learned from all images: the dense one, or one without some blocks."""
        if self.start.make_thin is None:
            assert self.start.dense is not None
            return self.start.dense
        thin, source = self.start.make_thin(), self.start.mixture or self.start.dense
        assert source is not None
        grow_from(thin, source)
        rest = behind(thin, "stem")[1]
        head = [] if source is self.start.dense else [self._head("thin_head", learning, 2)]
        self._run("thin", rest, [*head, self._tail("thin", learning, list(rest.parts))])
        return thin

    def _served(self, groups: Array | None, reference: Measured | None) -> Learned:
        served = rebuilt(self.model, classifier_activation="softmax")
        frozen = "backbone" if isinstance(served, Classifier) else self.start.frozen
        trunk, rest = behind(served, frozen)
        val, test = (self._part(part, trunk, "final") for part in ("val", "test"))
        return Learned(served, rest, val, test, groups, reference, self.history)

    def _part(self, part: str, trunk: keras.Model, folder: str) -> Part:
        views = self.settings.views_for(self.count) if part == "train" else 0
        steps = track(f"{folder}: {part}", self.verbose)
        return cached_part(self.files, part, trunk, self.work / folder, views, self.settings.seed, steps)

    def _head(self, name: str, learning: Learning, share: int = 4) -> Stage:
        return feature_stage(name, self._recipe(phases.HEAD, share), ["combiner"], learning)

    def _tail(self, name: str, learning: Learning, parts: Sequence[str], share: int = 1) -> Stage:
        return feature_stage(name, self._recipe(phases.TAIL, share), parts, learning)

    def _recipe(self, recipe: Recipe, share: int = 1) -> Recipe:
        """``recipe`` for one in ``share`` of the epochs."""
        epochs = max(1, self.settings.epochs_for(self.count) // share)
        batch_size = self.settings.batch_for(self.count)
        return dataclasses.replace(recipe, epochs=epochs, batch_size=batch_size, seed=self.settings.seed)

    def _run(self, name: str, model: MoEModel, stages: list[Stage]) -> None:
        say(f"{name}: {', '.join(f'{stage.name}, {stage.epochs} epochs at most' for stage in stages)}", self.verbose)
        callbacks = [self.clock.limit(name)]
        self.history |= run_stages(model, stages, self.work / name, callbacks, fit_verbosity(self.verbose))


def _plain(dense: MoEModel) -> MoEModel:
    """The same network as a ``Classifier``."""
    config = dense.get_config()
    kept = {name: config[name] for name in ("input_shape", "backbone", "alpha", "classes")}
    return Classifier(**kept, classifier_activation=None)
