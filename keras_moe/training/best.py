"""Early stopping of a stage, and its best weights, kept in a file."""

import math
import typing

import keras
from keras import ops

from keras_moe.layer_state import finalize
from keras_moe.training.checkpoint import Checkpoint
from keras_moe.types import Array
from keras_moe.weights import assign, read_tensors, write_tensors


class KeepBest(keras.callbacks.Callback):
    """Keeps the weights of least validation loss, those before the first epoch included.

    Args:
        checkpoint: the ``Checkpoint`` of the run; ``best.safetensors`` lies beside it.
        target: the model whose weights are kept.
        stage: name of the stage; a file of another one does not count.
        patience: int, epochs without a better loss after which training stops.
    """

    def __init__(self, checkpoint: Checkpoint, target: keras.Model, stage: str, patience: int) -> None:
        super().__init__()
        self.path = checkpoint.folder / "best.safetensors"
        self.target, self.stage, self.patience = target, stage, patience
        self.loss, self.epoch = math.inf, 0
        if self.path.exists():
            self._read()

    def start(self, network: keras.Model, validation: tuple[Array, dict[str, Array]]) -> None:
        """Measures and keeps the weights before the first epoch."""
        self.loss = math.inf
        self._keep(network.evaluate(*validation, verbose=0, return_dict=True)["loss"], 0)

    def is_over(self, epochs: int) -> bool:
        """Whether a stage ends that has run for so many ``epochs``."""
        return epochs - self.epoch >= self.patience

    def restore(self) -> None:
        """Assigns the best weights."""
        if math.isfinite(self.loss):
            assign(self._variables(), read_tensors(self.path), self.path)
            finalize(self.target)

    def on_epoch_end(self, epoch: int, logs: dict[str, typing.Any]) -> None:
        if logs["val_loss"] < self.loss:
            self._keep(logs["val_loss"], epoch + 1)
        self.model.stop_training = self.model.stop_training or self.is_over(epoch + 1)

    def _keep(self, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            return
        self.loss, self.epoch = float(loss), epoch
        tensors = {name: ops.convert_to_numpy(v) for name, v in self._variables().items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(self.path, tensors, {"stage": self.stage, "epoch": str(epoch), "loss": repr(self.loss)})

    def _read(self) -> None:
        from safetensors import safe_open

        with safe_open(self.path, "numpy") as file:
            metadata = file.metadata()
        if metadata["stage"] == self.stage:
            self.loss, self.epoch = float(metadata["loss"]), int(metadata["epoch"])

    def _variables(self) -> dict[str, keras.Variable]:
        return {str(i): v for i, v in enumerate(self.target.variables)}  # by position, as in a checkpoint
