"""The stages of fine-tuning: head, tail, thinned tail, mixture, and all gently.

Everything up to the end of the trunk keeps its weights at first, so its features are computed once. The head, whose
values are random, learns alone before the tail does: it would pull the tail away from what it knows (Kumar et al., ICLR
2022). A mixture's branches have fewer blocks than the tail. A tail without these learns from all images, and from the
tail that has them, before each branch, which sees a part of the images, starts as its copy. A gate is supervised with
groups of classes (HydraNets, CVPR 2018), and learns them alone first: while it is at chance, every branch would see a
bit of everything, and equal branches give it no reason to learn. At last the whole network learns from the files
themselves, at a tenth of the rate.
"""

import dataclasses
import typing
from collections.abc import Sequence

import keras
import numpy as np

from keras_moe.batches import balancing_weights
from keras_moe.images import centred, with_channels
from keras_moe.models import MoEModel
from keras_moe.training.classification import Recipe, adamw
from keras_moe.training.features import FeatureBatches
from keras_moe.training.file_batches import FileBatches
from keras_moe.training.finetuning.features import Part, by_chunks, validation_rows
from keras_moe.training.partition import partition_classes
from keras_moe.training.sources import BatchSource
from keras_moe.training.stages import Stage
from keras_moe.types import Array

HEAD = Recipe(epochs=1, learning_rate=3e-3, weight_decay=0.02)
GATE = HEAD
TAIL = Recipe(epochs=1, learning_rate=5e-4, weight_decay=0.02, gate_weight=0.3)
ALL = Recipe(epochs=1, learning_rate=5e-5, weight_decay=0.02, gate_weight=0.3)
_TEACHER = 0.7  # the share of the dense network's predictions in the targets; the rest is the label's
_SMOOTHING = 0.1
_CHUNK = 256  # images whose features are in memory at once
_LOSSES = {
    "prediction": keras.losses.CategoricalCrossentropy,
    "gate_logits": keras.losses.SparseCategoricalCrossentropy,
}


@dataclasses.dataclass(frozen=True)
class Learning:
    """What a stage learns: the parts of the data, the number of classes, and what it learns besides labels.

    Args:
        train, val: a ``Part`` each.
        classes: int.
        groups: int ``(classes,)``, the expert meant for each class, or None.
        teacher_predictions: predictions of a teacher for each view of ``train``, or None.
        mixup: of features, as for ``FeatureBatches``.
        gate_alone: whether the groups are all that is learned.
        emphasis: float array ``(classes,)``, how often images of a class are taken beside what balances classes; or
            None.
    """

    train: Part
    val: Part
    classes: int
    groups: Array | None = None
    teacher_predictions: list[Array] | None = None
    mixup: float = 0.0
    gate_alone: bool = False
    emphasis: Array | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs that learn."""
        gate = () if self.groups is None else ("gate_logits",)
        return gate if self.gate_alone else ("prediction", *gate)

    def targets(self) -> dict[str, typing.Any]:
        """Of the images to learn from: an array, or a list with one for each view."""
        own = np.eye(self.classes, dtype="float32")[self.train.labels]
        if self.teacher_predictions is None:
            return self._with_groups((1 - _SMOOTHING) * own + _SMOOTHING / self.classes, self.train.labels)
        blends = [
            _TEACHER * prediction.astype("float32") + (1 - _TEACHER) * own for prediction in self.teacher_predictions
        ]
        return self._with_groups(blends, self.train.labels)

    def validation(self, images: Array, rows: Array) -> tuple[Array, dict[str, Array]]:
        """The data that a stage is validated with."""
        labels = self.val.labels[rows]
        return images, self._with_groups(np.eye(self.classes, dtype="float32")[labels], labels)

    def _with_groups(self, classes: typing.Any, labels: Array) -> dict[str, typing.Any]:
        targets = {"prediction": classes, "gate_logits": None if self.groups is None else self.groups[labels]}
        return {name: targets[name] for name in self.outputs}


def feature_stage(name: str, recipe: Recipe, parts: Sequence[str], learning: Learning) -> Stage:
    """A stage of the layers behind the trunk, on cached features."""
    train, rows = learning.train, validation_rows(learning.val.labels)
    batch_size = min(recipe.batch_size, len(train.labels))

    def data() -> FeatureBatches:
        weights = balancing_weights(train.labels)
        if learning.emphasis is not None:
            weights = weights * learning.emphasis[train.labels]
        return FeatureBatches(
            train.views, learning.targets(), batch_size, recipe.seed, weights=weights, mixup=learning.mixup
        )

    features = np.asarray(learning.val.views[0][rows], "float32")
    return _stage(name, recipe, parts, data, learning, learning.validation(features, rows), batch_size)


def gate_stage(recipe: Recipe, learning: Learning) -> Stage:
    """A stage of the gate alone, on cached features, which knows a class's group afterwards if the trunk tells it."""
    return feature_stage("gate", recipe, ["gate"], dataclasses.replace(learning, gate_alone=True))


def file_stage(name: str, recipe: Recipe, model: MoEModel, learning: Learning) -> Stage:
    """A stage of the whole network, on the files."""
    train, rows = learning.train, validation_rows(learning.val.labels)
    batch_size = min(recipe.batch_size, len(train.labels))
    learning = dataclasses.replace(learning, teacher_predictions=None)  # the teacher has not seen these views

    def data() -> FileBatches:
        return FileBatches(
            train.images, learning.targets(), model.input_shape[1:], batch_size, seed=recipe.seed,
            weights=balancing_weights(train.labels),
        )  # fmt: skip

    size, channels = model.input_shape[1], model.input_shape[-1]
    whole = [centred([learning.val.images[int(row)]], size)[0] for row in rows]
    images = with_channels(np.stack(whole), channels)
    return _stage(name, recipe, list(model.parts), data, learning, learning.validation(images, rows), batch_size)


def _stage(
    name: str,
    recipe: Recipe,
    parts: Sequence[str],
    data: typing.Callable[[], BatchSource],
    learning: Learning,
    validation: tuple[Array, dict[str, Array]],
    batch_size: int,
) -> Stage:
    outputs = learning.outputs
    return Stage(
        name=name,
        train=tuple(parts),
        epochs=recipe.epochs,
        optimizer=lambda: adamw(recipe, max(1, len(learning.train.labels) // batch_size)),
        data=data,
        losses={name: _LOSSES[name](from_logits=True) for name in outputs},
        loss_weights={"prediction": 1.0, "gate_logits": recipe.gate_weight} if len(outputs) > 1 else None,
        metrics={name: ["accuracy"] for name in outputs},
        validation_data=validation,
        # On photographs the loss on held-out ones rises long before the accuracy falls. The accuracy on few images is
        # noisy, and the last epochs of a cosine give most.
        monitor="accuracy" if "prediction" in outputs else "loss",
        patience=max(3, recipe.epochs // 2),
    )


def predictions_of_views(rest: MoEModel, views: list[Array]) -> list[Array]:
    """Probabilities, float16 ``(n, classes)``, that the layers behind the trunk give each view."""
    import scipy.special

    def ask(features: Array) -> Array:
        probabilities: Array = scipy.special.softmax(rest.predict(features, batch_size=128, verbose=0), axis=-1)
        return probabilities.astype("float16")

    return [by_chunks(ask, view) for view in views]


def class_groups(features: Array, labels: Array, experts: int) -> Array:
    """The expert meant for each class, int ``(classes,)``: classes whose images look alike to the trunk share one.

    The trunk's features ``(n, h, w, c)`` are what the gate sees; images look alike that have like means and deviations
    of each channel. Of groups of classes that the end of a network confuses a gate knows hardly more than half.
    """
    parts = [features[start : start + _CHUNK] for start in range(0, len(features), _CHUNK)]
    moments = [np.concatenate([f((1, 2), "float32") for f in (part.mean, part.std)], axis=1) for part in parts]
    looks = np.concatenate(moments)
    deviation = looks.std(0)
    return partition_classes((looks - looks.mean(0)) / np.where(deviation, deviation, 1), labels, experts)
