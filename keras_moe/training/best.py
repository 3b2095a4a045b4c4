"""Early stopping of a stage, and its best weights, kept in a file."""

import json
import math
import typing

import keras
from keras import ops

from keras_moe.layer_state import finalize
from keras_moe.training.checkpoint import Checkpoint
from keras_moe.types import Array
from keras_moe.weights import assign, read_tensors, write_tensors

_NONE = (-math.inf, -math.inf)
MONITORS = ("loss", "accuracy")
Measured = dict[str, typing.Any]
"""Numbers on the validation data, by name."""


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
