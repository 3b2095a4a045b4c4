"""Batches whose order and augmentation depend on seed and epoch alone: a resumed run sees what it would have seen."""

import typing

import keras
import numpy as np

from keras_moe.checks import flag, integer, number
from keras_moe.types import Array


class ImageBatches(keras.utils.PyDataset):
    """Shuffled, augmented batches of images in memory.

    Args:
        images: uint8 array ``(n, h, w, c)``.
        targets: array ``(n, …)``, or a dict of them.
        batch_size: int. The last, smaller batch is left out: BatchNorm dislikes it.
        augment: bool: random horizontal flip, and a crop after padding ``pad`` pixels with reflection.
        pad: int, pixels.
        seed: int.

    Attributes:
        epoch: int, from 0; advanced by Keras at the end of each epoch.
    """

    def __init__(
        self,
        images: Array,
        targets: Array | dict,
        batch_size: int = 128,
        augment: bool = True,
        pad: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        batch_size, pad = integer(owner, "batch_size", batch_size, 1), integer(owner, "pad", pad, 0)
        augment, seed = flag(owner, "augment", augment), integer(owner, "seed", seed, 0)
        if len(images) < batch_size:
            raise ValueError(f"Expected at least one batch of {batch_size} images. Received: {len(images)} images")
        self.images, self.targets, self.batch_size = images, targets, batch_size
        self.augment, self.pad, self.seed, self.epoch = augment, pad, seed, 0
        self._order: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.images) // self.batch_size

    def __getitem__(self, i: int) -> tuple[Array, Array | dict]:
        rows = self._permutation()[i * self.batch_size : (i + 1) * self.batch_size]
        images = self.images[rows]
        if self.augment:
            images = flip_and_crop(images, self.pad, np.random.default_rng((self.seed, self.epoch, i)))
        targets = self.targets
        picked = {k: t[rows] for k, t in targets.items()} if isinstance(targets, dict) else targets[rows]
        return images.astype("float32"), picked

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def _permutation(self):
        if self._order is None or self._order[0] != self.epoch:
            self._order = (self.epoch, np.random.default_rng((self.seed, self.epoch)).permutation(len(self.images)))
        return self._order[1]


class DrawnBatches(ImageBatches):
    """As ``ImageBatches``, but each epoch sees some of the images only, drawn anew without replacement.

    Args:
        probabilities: float array ``(n,)`` >= 0, how likely each image is drawn, in proportion.
        share: float in (0, 1], images of an epoch in proportion to all of them.
        images, targets, …: as for ``ImageBatches``.
    """

    def __init__(
        self, images: Array, targets: Array | dict, probabilities: Array, share: float, **kwargs: typing.Any
    ) -> None:
        share = number("DrawnBatches", "share", share, above=0, most=1)
        super().__init__(images, targets, **kwargs)
        probabilities = np.asarray(probabilities, "float64")
        self.probabilities = probabilities / probabilities.sum()
        self.drawn = min(round(share * len(images)), int(np.count_nonzero(self.probabilities)))
        self.batch_size = min(self.batch_size, self.drawn)

    def __len__(self) -> int:
        return self.drawn // self.batch_size

    def _permutation(self):
        if self._order is None or self._order[0] != self.epoch:
            rng = np.random.default_rng((self.seed, self.epoch))
            order = rng.choice(len(self.images), self.drawn, replace=False, p=self.probabilities)
            self._order = (self.epoch, order)
        return self._order[1]


def flip_and_crop(images: Array, pad: int, rng: np.random.Generator) -> Array:
    """Flips half of the images and shifts each by up to ``pad`` pixels; ``(n, h, w, c)`` to the same shape."""
    n, h, w, _ = images.shape
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
    rows = rng.integers(0, 2 * pad + 1, (n, 1)) + np.arange(h)
    columns = rng.integers(0, 2 * pad + 1, (n, 1)) + np.arange(w)
    columns = np.where(rng.random((n, 1)) < 0.5, columns, columns[:, ::-1])
    return padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
