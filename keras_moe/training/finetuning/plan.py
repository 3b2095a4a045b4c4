"""How long each stage of fine-tuning learns."""

import dataclasses
import json
import math
import pathlib
import time
import typing

import keras

from keras_moe.checks import flag, integer, number
from keras_moe.files import write_bytes

# Of the minutes that are left when it begins, what a run of stages may take.
_SHARES = {"dense": 0.4, "thin": 0.3, "mixture": 0.5, "all": 1.0}
_EXAMPLES = 12_000  # images that a stage sees in all, where the user does not say


@dataclasses.dataclass(frozen=True)
class FineTuningSettings:
    """The numbers of a fine-tuning; see ``finetune``. None: chosen from the data.

    Raises:
        ValueError: a number out of range.
    """

    size: int | None = None
    epochs: int | None = None
    minutes: float | None = None
    budget: float | None = None
    dense: bool = False
    num_experts: int = 4
    batch_size: int | None = None
    most_unreadable: float = 0.1
    split_look_alikes: bool = False
    latency: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        owner = "finetune"
        for name in ("size", "epochs", "batch_size"):
            integer(owner, name, getattr(self, name), 1, or_none=True)
        for name in ("minutes", "budget"):
            number(owner, name, getattr(self, name), above=0, or_none=True)
        integer(owner, "num_experts", self.num_experts, 2)
        integer(owner, "seed", self.seed, 0)
        number(owner, "most_unreadable", self.most_unreadable, 0, 1)
        for name in ("dense", "split_look_alikes", "latency"):
            flag(owner, name, getattr(self, name))

    def epochs_for(self, images: int) -> int:
        """Epochs of a stage that learns from so many images: small sets are seen more often."""
        return self.epochs or min(20, max(4, round(_EXAMPLES / images)))

    def batch_for(self, images: int) -> int:
        """Images in a batch: 32, or fewer where an epoch would be less than twenty steps."""
        return self.batch_size or min(32, max(4, images // 20))

    def views_for(self, images: int) -> int:
        """Random views of each image whose features are kept."""
        return min(self.epochs_for(images), 6, max(1, round(8_000 / images)))


class Clock:
    """The time of a run, which goes on where an interrupted one was.

    Args:
        folder: where the seconds are kept.
        minutes: float, in all; None: no limit.
    """

    def __init__(self, folder: pathlib.Path, minutes: float | None) -> None:
        self.path, self.minutes = folder / "seconds.json", minutes
        before = json.loads(self.path.read_text()) if self.path.exists() else 0.0
        self._began = time.monotonic() - before

    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def keep(self) -> float:
        """``now``, kept, so that the next process goes on from here."""
        spent = self.now()
        write_bytes(self.path, json.dumps(spent).encode())
        return spent

    def limit(self, name: str) -> "Deadline":
        """A callback for the stages that are run as ``name``: they end before they take more than their share."""
        if self.minutes is None:
            return Deadline(math.inf, self)
        now = self.keep()
        return Deadline(now + _SHARES[name] * max(0.0, 60 * self.minutes - now), self)


class Deadline(keras.callbacks.Callback):
    """Ends a stage after the epoch before the one that would take too long, or within the first one.

    Args:
        end: float, seconds since the run began.
        clock: the ``Clock`` of the run.
    """

    def __init__(self, end: float, clock: Clock) -> None:
        super().__init__()
        self.end, self.clock = end, clock

    def on_epoch_begin(self, epoch: int, logs: dict[str, typing.Any] | None = None) -> None:
        self._epoch_began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, typing.Any] | None = None) -> None:
        self.model.stop_training = self.model.stop_training or self.clock.now() > self.end

    def on_epoch_end(self, epoch: int, logs: dict[str, typing.Any] | None = None) -> None:
        now, took = self.clock.keep(), time.monotonic() - self._epoch_began
        self.model.stop_training = self.model.stop_training or now + took > self.end
