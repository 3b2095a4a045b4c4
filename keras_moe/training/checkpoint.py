"""The state of a run, in one file that is replaced atomically."""

import json
import pathlib
import typing
from collections.abc import Callable

import keras
from keras import ops

from keras_moe.layer_state import finalize
from keras_moe.types import Path
from keras_moe.weights import assign, read_tensors, write_tensors

Progress = dict[str, typing.Any]
"""The stage of a run, the epochs done of it and the history so far, JSON-able."""


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
        """Writes model, optimizer and ``progress``; an older checkpoint is replaced in one step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: ops.convert_to_numpy(v) for name, v in _state(model, optimizer).items()}
        write_tensors(self.path, tensors, {"progress": json.dumps(progress)})

    def progress(self) -> Progress | None:
        """The progress saved, or None without a checkpoint."""
        if not self.path.exists():
            return None
        from safetensors import safe_open

        with safe_open(self.path, "numpy") as file:
            progress: Progress = json.loads(file.metadata()["progress"])
            return progress

    def restore(self, model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None) -> None:
        """Assigns the saved state, all or nothing. Raises ValueError when it does not fit."""
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


def _state(model: keras.Model, optimizer: keras.optimizers.Optimizer | None) -> dict[str, keras.Variable]:
    # By position: the numbers in adam_w_1 or seed_generator_2 depend on the history of the process.
    state = {f"model/{i}": v for i, v in enumerate(model.variables)}
    if optimizer is not None:
        state.update({f"optimizer/{i}": v for i, v in enumerate(optimizer.variables)})
    return state
