"""How long each stage of fine-tuning learns."""

import dataclasses
import json
import pathlib
import time
import typing

import keras

from keras_moe.checks import flag, integer, number
from keras_moe.files import write_bytes

_SHARES = {"dense": 0.4, "mixture": 0.45, "all": 0.15}  # of the minutes that are left when a stage begins, by name
_EXAMPLES = 16_000  # images that a stage sees in all, where the user does not say


@dataclasses.dataclass(frozen=True)
class Settings:
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
    seed: int = 0

    def __post_init__(self) -> None:
        owner = "finetune"
        for name in ("size", "epochs", "batch_size"):
            integer(owner, name, getattr(self, name), 1, or_none=True)
        for name in ("minutes", "budget"):
            number(owner, name, getattr(self, name), above=0, or_none=True)
        integer(owner, "num_experts", self.num_experts, 2)
        integer(owner, "seed", self.seed, 0)
        flag(owner, "dense", self.dense)

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

    def seconds(self) -> float:
        """Since the run began; kept, so that the next process goes on from here."""
        spent = time.monotonic() - self._began
        write_bytes(self.path, json.dumps(spent).encode())
        return spent

    def limit(self, stage: str, is_last: bool) -> "Deadline":
        """A callback that ends a stage before it takes more than its share of what is left."""
        if self.minutes is None:
            return Deadline(None, self)
        left = max(0.0, 60 * self.minutes - self.seconds())
        return Deadline(left if is_last else left * _SHARES[stage], self)


class Deadline(keras.callbacks.Callback):
    """Ends a stage after the epoch before the one that would take too long. One epoch is always run."""

    def __init__(self, seconds: float | None, clock: Clock) -> None:
        super().__init__()
        self.allowed, self.clock = seconds, clock

    def on_train_begin(self, logs: dict[str, typing.Any] | None = None) -> None:
        self._began = self._epoch_began = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, typing.Any] | None = None) -> None:
        self._epoch_began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, typing.Any] | None = None) -> None:
        now = time.monotonic()
        self.clock.seconds()
        if self.allowed is not None and now - self._began + (now - self._epoch_began) > self.allowed:
            self.model.stop_training = True
