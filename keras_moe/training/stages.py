"""Training in stages: set the trainable flags, compile, fit, save a checkpoint, go to the next stage."""

import dataclasses
import typing
from collections.abc import Callable, Collection, Sequence

import keras
import numpy as np

from keras_moe.checks import check, class_labels, plain_numbers, warn_of_fractions
from keras_moe.models.base import MoEModel
from keras_moe.training.checkpoint import MONITORS, Checkpoint, KeepBest, Progress, SaveEachEpoch
from keras_moe.training.sources import BatchSource, SourceBatches, Throughput
from keras_moe.types import Array, Path

Logs = dict[str, typing.Any]
"""The numbers of one epoch, by name."""
History = dict[str, list[Logs]]
"""The logs of every epoch of a run, by stage."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of training.

    Args:
        name: of the stage, unique in a run.
        train: names of the model's parts that learn; all others are frozen, BatchNorm statistics included.
        epochs: int >= 1.
        optimizer: ``() -> keras.optimizers.Optimizer``. A function, because each stage starts with a fresh one. With
            ``use_ema`` the stage ends with the moving average of the weights, unless ``patience`` takes others.
        data: batches ``(images, targets)``: a ``keras.utils.PyDataset`` such as ``ImageBatches`` or ``FileBatches``, a
            ``tf.data.Dataset`` such as Keras' ``image_dataset_from_directory`` gives, a PyTorch ``DataLoader``, each on
            every backend; a pair of arrays; or a function that makes one of these, called only if an epoch is left to
            run. Targets are a dict with the keys of ``losses``; with a single loss they may be its targets alone.
        losses: dict, output name -> Keras loss. Outputs: ``"prediction"`` (the model's output) and
            ``"gate_logits"``.
        loss_weights: dict, output name -> float.
        metrics: dict, output name -> list of Keras metrics or their names.
        validation_data: ``(x, targets)``, in memory, or None.
        patience: int, epochs without a better one on ``validation_data`` after which the stage ends; the weights of the
            best epoch are taken, or those before the first. None: all epochs run, and the last weights are taken.
        monitor: ``"loss"``: the epoch of least loss is the best; or ``"accuracy"``, which must be among ``metrics``
            of ``"prediction"``: that of greatest accuracy, of equal ones that of least loss.

    Example:
        >>> images, labels = datasets.digits()[0]
        >>> stage = training.Stage(
        ...     name="head", train=("combiner",), epochs=1, optimizer=keras.optimizers.Adam,
        ...     data=training.ImageBatches(images, {"prediction": labels}, batch_size=100),
        ...     losses={"prediction": keras.losses.SparseCategoricalCrossentropy()},
        ... )
        >>> stage.train
        ('combiner',)
    """

    name: str
    train: tuple[str, ...]
    epochs: int
    optimizer: Callable[[], keras.optimizers.Optimizer]
    data: BatchSource | Callable[[], BatchSource]
    losses: dict[str, keras.losses.Loss]
    loss_weights: dict[str, float] | None = None
    metrics: dict[str, list[typing.Any]] | None = None
    validation_data: tuple[Array, dict[str, Array]] | None = None
    patience: int | None = None
    monitor: str = "loss"

    def __post_init__(self) -> None:
        plain_numbers(self, epochs={"least": 1}, patience={"least": 1})
        check(f"Stage {self.name!r}", "monitor", self.monitor, self.monitor in MONITORS, f"one of {MONITORS}")
        if self.monitor == "accuracy" and "accuracy" not in (self.metrics or {}).get("prediction", ()):
            raise ValueError(
                f"Stage {self.name!r}: `monitor` needs metrics={{'prediction': ['accuracy']}}. Received: {self.metrics}"
            )
        held_out = self.validation_data
        if held_out is not None and not (isinstance(held_out, (tuple, list)) and len(held_out) == 2):
            raise ValueError(
                f"Stage {self.name!r}: `validation_data` must be a pair of arrays (x, targets), in memory. Received: "
                f"{type(held_out).__name__}; gather its batches with np.concatenate."
            )
        if self.patience is not None and self.validation_data is None:
            raise ValueError(f"Stage {self.name!r}: `patience` needs `validation_data`. Received: none")


def run_stages(
    model: MoEModel,
    stages: Sequence[Stage],
    folder: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
) -> History:
    """Trains ``model`` through ``stages`` and saves after every epoch; the same call resumes an interrupted run.

    For each stage: sets ``trainable`` on every part, compiles with a fresh optimizer, fits. After ``kill -9`` the same
    call resumes in the right stage and epoch, with the optimizer, the seeds and the order of the batches restored,
    and ends with the same weights as an uninterrupted run on the same backend. Data whose order cannot be set resumes
    at the same epoch with another order, and a warning says so. The logs of an epoch have ``images_per_second`` and
    ``data_share``, the share of its time that the data took; with ``verbose`` the limit, data or compute, is printed.

    Data-parallel training: on JAX, call ``keras.distribution.set_distribution(keras.distribution.DataParallel())``
    before the model is made; on TensorFlow, make the model and the stages and call this inside the ``scope()`` of a
    ``tf.distribute`` strategy. The batch size is the total over all devices, which must divide it.

    Args:
        model: an ``MoEModel``.
        stages: list of ``Stage``.
        folder: for ``checkpoint.safetensors``; one folder, one run.
        callbacks: Keras callbacks, passed to every ``fit``.
        verbose: as in ``fit``.

    Returns:
        dict, stage name -> list of logs, one dict of floats per epoch.

    Raises:
        ValueError: unknown parts, equal stage names, a stage that trains nothing, or a checkpoint of another run.

    Example:
        >>> (images, labels), test = datasets.digits()
        >>> model = zoo.load("test_hydranet", classifier_activation=None)
        >>> recipe, few = training.Recipe(epochs=1, batch_size=50, augment=False), (images[:200], labels[:200])
        >>> stage = training.classification_stage(model, recipe, few, test, parts=("combiner",), name="head")
        >>> history = training.run_stages(model, [stage], folder="run", verbose=0)
        >>> history["head"][0]["val_accuracy"] > 0.8
        True
    """
    _check(model, stages)
    checkpoint = Checkpoint(folder)
    progress = checkpoint.progress() or {"stage": stages[0].name, "epoch": 0, "history": {}}
    names = [s.name for s in stages]
    if progress["stage"] not in names:
        raise ValueError(f"{checkpoint.path} is at stage {progress['stage']!r}, not one of {names}: another run's.")
    for stage in stages[names.index(progress["stage"]) :]:
        done = progress["epoch"] if progress["stage"] == stage.name else 0
        _run(model, stage, done, progress["history"], checkpoint, callbacks, verbose)
        progress = checkpoint.progress() or progress
    history: History = progress["history"]
    return history


def freeze_all_but(model: MoEModel, parts: Collection[str]) -> None:
    """Sets ``trainable`` on every part of ``model``: True for the parts named, False for the rest.

    Example:
        >>> model = zoo.load("test_hydranet")
        >>> training.freeze_all_but(model, ["gate"])
        >>> sorted({v.path.split("/")[0] for v in model.trainable_variables})
        ['gate_logits']
    """
    for name, layers in model.parts.items():
        for layer in layers:
            layer.trainable = name in parts


def jit_compile() -> bool | str:
    """The argument of ``compile``: on a CPU TensorFlow trains convolutions faster without XLA."""
    return False if keras.backend.backend() == "tensorflow" else "auto"


def _run(
    model: MoEModel,
    stage: Stage,
    done: int,
    history: History,
    checkpoint: Checkpoint,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: str | int,
) -> None:
    freeze_all_but(model, stage.train)
    network = _network(model, stage)
    network.compile(
        stage.optimizer(), stage.losses, loss_weights=stage.loss_weights, metrics=stage.metrics,
        jit_compile=jit_compile(),
    )  # fmt: skip
    optimizer = network.optimizer  # the stage's, or a loss-scaling optimizer around it
    optimizer.build(network.trainable_variables)
    if 0 < done < stage.epochs:
        checkpoint.restore(model, optimizer)
    elif checkpoint.path.exists():
        checkpoint.restore(model)  # the end of this stage, or of the one before
    if done >= stage.epochs:
        return
    logs = history.setdefault(stage.name, [])

    def progress(epoch: int, new: Logs) -> Progress:
        logs.append({k: float(v) for k, v in new.items()})
        return {"stage": stage.name, "epoch": epoch, "history": history}

    validation = stage.validation_data and _divisible(stage.validation_data)
    best = [] if stage.patience is None else [KeepBest(checkpoint, model, stage.name, stage.patience, stage.monitor)]
    if best and validation and not done:
        best[0].start(network, validation)
    if not best or not best[0].is_over(done):
        batches = _batches(model, stage)
        batches.epoch = done
        usage = [_LogUsage(model, validation[0])] if model.gate and validation else []
        rate, save = Throughput(batches, stage.name, bool(verbose)), SaveEachEpoch(checkpoint, model, progress)
        # Keras would shuffle the order of the batches once more, by a generator that no checkpoint holds.
        network.fit(
            batches, initial_epoch=done, epochs=stage.epochs, validation_data=validation,
            callbacks=[*usage, rate, *callbacks, *best, save], shuffle=False, verbose=verbose,
        )  # fmt: skip
    if best:
        best[0].restore()
    # Also where a callback ended the stage, and what ``fit`` itself sets last: the optimizer's moving average.
    checkpoint.save(model, {"stage": stage.name, "epoch": stage.epochs, "history": history})


def _batches(model: MoEModel, stage: Stage) -> SourceBatches:
    def to_targets(y: typing.Any) -> dict[str, Array]:
        if not isinstance(y, dict) and len(stage.losses) > 1:
            raise ValueError(f"Stage {stage.name!r}: expected targets for {sorted(stage.losses)}. Received: one array")
        return y if isinstance(y, dict) else dict.fromkeys(stage.losses, y)

    classes = {
        name: output.shape[-1]
        for name, output in _outputs(model, stage).items()
        if isinstance(stage.losses[name], keras.losses.SparseCategoricalCrossentropy)
    }

    def check_batch(images: Array, targets: dict[str, Array]) -> None:
        if model.takes_pixels:
            warn_of_fractions(f"Stage {stage.name!r}", images)
        for name, count in classes.items():
            if name not in targets:
                continue  # Keras says what is missing
            labels, ignored = targets[name], getattr(stage.losses[name], "ignore_class", None)
            counted = labels if ignored is None else labels[labels != ignored]
            # On JAX a label beyond the classes would count for nothing, or for the last class.
            if counted.size:
                class_labels(f"Stage {stage.name!r}", name, counted, counted.shape, count)

    source = stage.data() if _makes_data(stage.data) else stage.data
    return SourceBatches(source, to_targets, model.input_shape[1:], check_batch)


def _makes_data(data: BatchSource | Callable[[], BatchSource]) -> bool:
    return callable(data) and not hasattr(data, "__iter__") and not hasattr(data, "__getitem__")


def _divisible(data: tuple[Array, dict[str, Array]]) -> tuple[Array, dict[str, Array]]:
    """Validation data without the last few rows that the devices of a ``keras.distribution`` could not share evenly."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return data
    (images, targets), devices = data, distribution.device_mesh.devices.size
    whole = len(images) // devices * devices
    return images[:whole], {name: target[:whole] for name, target in targets.items()}


def _network(model: MoEModel, stage: Stage) -> keras.Model:
    return model.sharing(model.inputs, _outputs(model, stage), stage.name)


def _outputs(model: MoEModel, stage: Stage) -> dict[str, keras.KerasTensor]:
    """The outputs that the stage has losses for."""
    outputs = {"prediction": model.output, **(model.gate or {})}
    return {name: outputs[name] for name in stage.losses}


class _LogUsage(keras.callbacks.Callback):
    """Adds to the logs the share of validation images that each expert runs for, and the smallest of them.

    ``usage_min`` near zero is a collapsed gate.
    """

    def __init__(self, model: MoEModel, images: Array, most: int = 1024) -> None:
        super().__init__()
        self.target, self.images = model, images[:most]

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        route = self.target.route(self.images)
        usage = np.mean(route.reshape(-1, route.shape[-1]) != 0, axis=0)  # a row per image, class or pixel
        logs.update({f"usage_{k}": float(u) for k, u in enumerate(usage)}, usage_min=float(usage.min()))


def _check_loss(model: MoEModel, stage: Stage) -> None:
    """A loss of logits is for logits, any other of classes for probabilities."""
    of_logits = getattr(stage.losses.get("prediction"), "from_logits", None)
    if of_logits is None or model.ends_in_logits is None:
        return
    ending = "logits" if model.ends_in_logits else "probabilities"
    check(
        f"Stage {stage.name!r}", "losses['prediction']", f"from_logits={of_logits}", of_logits == model.ends_in_logits,
        f"a loss of {ending}, in which {model.name!r} ends; classifier_activation=None or 'softmax' makes a model end "
        "in the others",
    )  # fmt: skip


def _check(model: MoEModel, stages: Sequence[Stage]) -> None:
    names = [s.name for s in stages]
    if not stages or len(set(names)) != len(names):
        raise ValueError(f"Stages need distinct names, and there must be one. Received: {names}")
    for stage in stages:
        unknown = sorted(set(stage.train) - set(model.parts))
        if unknown or not stage.train:
            raise ValueError(
                f"Stage {stage.name!r}: `train` must name parts of {sorted(model.parts)}. Received: {stage.train}"
            )
        _check_loss(model, stage)
        wrong = sorted(set(stage.losses) - ({"prediction", "gate_logits"} if model.gate else {"prediction"}))
        if wrong or not stage.losses:
            raise ValueError(
                f"Stage {stage.name!r}: `losses` are for 'prediction' and 'gate_logits'. Received: {stage.losses}"
            )
