"""What a run keeps in files: its state, replaced atomically, and the best weights of a stage, which may end early."""

import json
import math
import pathlib
import typing
from collections.abc import Callable

import keras
from keras import ops

from keras_moe.layer_state import finalize
from keras_moe.types import Array, Path
from keras_moe.weights import assign, read_tensors, write_tensors

MONITORS = ("loss", "accuracy")
_NONE = (-math.inf, -math.inf)
Progress = dict[str, typing.Any]
"""The stage of a run, the epochs done of it and the history so far, JSON-able."""
Measured = dict[str, typing.Any]
"""Numbers on the validation data, by name."""


class Checkpoint:
    """The state of a staged run in ``<folder>/checkpoint.safetensors``.

    It holds the variables of the model (with the seeds of random layers) and of the optimizer, and the progress.

    Args:
        folder: of the file; made if need be.

    Example:
        >>> model = zoo.load("test_hydranet")
        >>> checkpoint = training.Checkpoint("run")
        >>> checkpoint.save(model, {"stage": "head", "epoch": 3, "history": {}})
        >>> checkpoint.progress()["epoch"]
        3
        >>> other = zoo.load("test_hydranet", weights=None)
        >>> checkpoint.restore(other)
        >>> all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights()))
        True
    """

    def __init__(self, folder: Path) -> None:
        self.folder = pathlib.Path(folder)
        self.path = self.folder / "checkpoint.safetensors"

    def save(self, model: keras.Model, progress: Progress, optimizer: keras.optimizers.Optimizer | None = None) -> None:
        """Writes model, optimizer and ``progress``; an older checkpoint is replaced in one step.

        Example:
            >>> checkpoint = training.Checkpoint("run")
            >>> checkpoint.save(zoo.load("test_hydranet"), {"epoch": 1})
            >>> checkpoint.path.name
            'checkpoint.safetensors'
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: ops.convert_to_numpy(v) for name, v in _state(model, optimizer).items()}
        write_tensors(self.path, tensors, {"progress": json.dumps(progress)})

    def progress(self) -> Progress | None:
        """The progress saved, or None without a checkpoint.

        Example:
            >>> training.Checkpoint("nothing").progress() is None
            True
        """
        if not self.path.exists():
            return None
        from safetensors import safe_open

        with safe_open(self.path, "numpy") as file:
            progress: Progress = json.loads(file.metadata()["progress"])
            return progress

    def restore(self, model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None) -> None:
        """Assigns the saved state, all or nothing. Raises ValueError when it does not fit.

        Example:
            >>> model, other = zoo.load("test_hydranet"), zoo.load("test_hydranet", weights=None)
            >>> checkpoint = training.Checkpoint("run")
            >>> checkpoint.save(model, {"epoch": 1})
            >>> checkpoint.restore(other)
            >>> np.array_equal(model.get_weights()[0], other.get_weights()[0])
            True
        """
        tensors = read_tensors(self.path)
        if optimizer is None:
            tensors = {name: t for name, t in tensors.items() if not name.startswith("optimizer/")}
        assign(_state(model, optimizer), tensors, self.path)
        finalize(model)


class SaveEachEpoch(keras.callbacks.Callback):
    """Saves a checkpoint at the end of every epoch but the last, after which ``fit`` and callbacks may set weights.

    Args:
        checkpoint: a ``Checkpoint``.
        target: the model to save; the model being fitted may be a wrapper around it.
        progress: ``(epochs done, logs) -> progress``.
    """

    def __init__(
        self, checkpoint: Checkpoint, target: keras.Model, progress: Callable[[int, dict[str, typing.Any]], Progress]
    ) -> None:
        super().__init__()
        self.checkpoint, self.target, self.progress = checkpoint, target, progress

    def on_epoch_end(self, epoch: int, logs: dict[str, typing.Any] | None = None) -> None:
        progress = self.progress(epoch + 1, logs or {})
        if epoch + 1 < self.params["epochs"]:
            self.checkpoint.save(self.target, progress, self.model.optimizer)


class KeepBest(keras.callbacks.Callback):
    """Keeps the best weights on the validation data, those before the first epoch included.

    Args:
        checkpoint: the ``Checkpoint`` of the run; ``best.safetensors`` lies beside it.
        target: the model whose weights are kept.
        stage: name of the stage; a file of another one does not count.
        patience: int, epochs without a better one after which training stops.
        monitor: ``"loss"``, the least is best; or ``"accuracy"``, the greatest, and of equal ones that of least loss.
    """

    def __init__(
        self, checkpoint: Checkpoint, target: keras.Model, stage: str, patience: int, monitor: str = "loss"
    ) -> None:
        super().__init__()
        self.path = checkpoint.folder / "best.safetensors"
        self.target, self.stage, self.patience, self.monitor = target, stage, patience, monitor
        self.rank, self.epoch = _NONE, 0
        if self.path.exists():
            self._read()

    def start(self, network: keras.Model, validation: tuple[Array, dict[str, Array]]) -> None:
        """Measures and keeps the weights before the first epoch."""
        self.rank = _NONE
        self._consider(network.evaluate(*validation, verbose=0, return_dict=True), 0)

    def is_over(self, epochs: int) -> bool:
        """Whether a stage ends that has run for so many ``epochs``."""
        return epochs - self.epoch >= self.patience

    def restore(self) -> None:
        """Assigns the best weights."""
        if self.rank > _NONE:
            assign(self._variables(), read_tensors(self.path), self.path)
            finalize(self.target)

    def on_epoch_end(self, epoch: int, logs: dict[str, typing.Any]) -> None:
        measured = {name.removeprefix("val_"): value for name, value in logs.items() if name.startswith("val_")}
        self._consider(measured, epoch + 1)
        self.model.stop_training = self.model.stop_training or self.is_over(epoch + 1)

    def _consider(self, measured: Measured, epoch: int) -> None:
        rank = self._rank(measured)
        if not all(map(math.isfinite, rank)) or rank <= self.rank:
            return
        self.rank, self.epoch = rank, epoch
        tensors = {name: ops.convert_to_numpy(v) for name, v in self._variables().items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(self.path, tensors, {"stage": self.stage, "epoch": str(epoch), "rank": json.dumps(rank)})

    def _rank(self, measured: Measured) -> tuple[float, float]:
        """What a better epoch has more of, the first number before the second."""
        loss = float(measured["loss"])
        if self.monitor == "loss":
            return 0.0, -loss
        of_several = "prediction_accuracy"  # Keras names the metrics of a network with several outputs after these
        return float(measured[of_several if of_several in measured else "accuracy"]), -loss

    def _read(self) -> None:
        from safetensors import safe_open

        with safe_open(self.path, "numpy") as file:
            metadata = file.metadata()
        if metadata["stage"] == self.stage:
            self.rank, self.epoch = tuple(json.loads(metadata["rank"])), int(metadata["epoch"])

    def _variables(self) -> dict[str, keras.Variable]:
        return {str(i): v for i, v in enumerate(self.target.variables)}  # by position, as in a checkpoint


def _state(model: keras.Model, optimizer: keras.optimizers.Optimizer | None) -> dict[str, keras.Variable]:
    # By position: the numbers in adam_w_1 or seed_generator_2 depend on the history of the process.
    state = {f"model/{i}": v for i, v in enumerate(model.variables)}
    if optimizer is not None:
        state.update({f"optimizer/{i}": v for i, v in enumerate(optimizer.variables)})
    return state
