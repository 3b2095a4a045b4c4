"""Batches whose order and augmentation depend on seed and epoch alone: a resumed run sees the same batches."""

import typing

import keras
import numpy as np

from keras_moe.checks import check, flag, integer, number
from keras_moe.types import Array

Targets = Array | dict[str, Array]
"""An array with a row per image, or one such array for each output."""


class ImageBatches(keras.utils.PyDataset):
    """Shuffled, augmented batches of images in memory.

    Args:
        images: uint8 array ``(n, h, w, c)``.
        targets: array ``(n, …)``, or a dict of them.
        batch_size: int. A last, smaller batch is left out: BatchNorm dislikes it.
        augment: bool: random horizontal flip, and a crop after padding by ``pad`` pixels with reflection.
        pad: int, pixels.
        seed: int.

    Attributes:
        epoch: int, from 0; advanced by Keras at the end of each epoch.

    Raises:
        ValueError: fewer images than a batch, or not as many targets as images.

    Example:
        >>> images = np.zeros((10, 8, 8, 3), "uint8")
        >>> batches = training.ImageBatches(images, np.arange(10), batch_size=4)
        >>> len(batches)
        2
        >>> x, y = batches[0]
        >>> x.shape, x.dtype, y.shape
        ((4, 8, 8, 3), dtype('float32'), (4,))
    """

    def __init__(
        self,
        images: Array,
        targets: Targets,
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
        check_count(owner, len(images), targets)
        self.images, self.targets, self.batch_size = images, targets, batch_size
        self.augment, self.pad, self.seed, self.epoch = augment, pad, seed, 0
        self._order: tuple[int, Array] | None = None

    def __len__(self) -> int:
        return len(self.images) // self.batch_size

    def __getitem__(self, i: int) -> tuple[Array, Targets]:
        rows = self._permutation()[i * self.batch_size : (i + 1) * self.batch_size]
        images = self.images[rows]
        if self.augment:
            images = flip_and_crop(images, self.pad, np.random.default_rng((self.seed, self.epoch, i)))
        targets = self.targets
        picked = {k: t[rows] for k, t in targets.items()} if isinstance(targets, dict) else targets[rows]
        return images.astype("float32"), picked

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def _permutation(self) -> Array:
        if self._order is None or self._order[0] != self.epoch:
            self._order = (self.epoch, np.random.default_rng((self.seed, self.epoch)).permutation(len(self.images)))
        return self._order[1]


class DrawnBatches(ImageBatches):
    """``ImageBatches`` of a sample of the images, drawn anew for each epoch without replacement.

    Args:
        probabilities: float array ``(n,)`` >= 0, proportional to each image's chance to be drawn.
        share: float in (0, 1], the size of an epoch in proportion to all images.
        images, targets, …: as for ``ImageBatches``.

    Example:
        >>> images, labels = np.zeros((10, 8, 8, 3), "uint8"), np.arange(10)
        >>> chances = np.where(labels < 5, 1.0, 0.0)
        >>> batches = training.DrawnBatches(images, labels, chances, share=0.4, batch_size=2, augment=False)
        >>> len(batches)
        2
        >>> bool(all(max(y) < 5 for _, y in (batches[0], batches[1])))
        True
    """

    def __init__(
        self, images: Array, targets: Targets, probabilities: Array, share: float, **kwargs: typing.Any
    ) -> None:
        share = number("DrawnBatches", "share", share, above=0, most=1)
        super().__init__(images, targets, **kwargs)
        probabilities = np.asarray(probabilities, "float64")
        self.probabilities = probabilities / probabilities.sum()
        self.drawn = min(round(share * len(images)), int(np.count_nonzero(self.probabilities)))
        self.batch_size = min(self.batch_size, self.drawn)

    def __len__(self) -> int:
        return self.drawn // self.batch_size

    def _permutation(self) -> Array:
        if self._order is None or self._order[0] != self.epoch:
            rng = np.random.default_rng((self.seed, self.epoch))
            order = rng.choice(len(self.images), self.drawn, replace=False, p=self.probabilities)
            self._order = (self.epoch, order)
        return self._order[1]


def check_count(owner: str, count: int, targets: Targets) -> None:
    """Raises ValueError unless ``targets`` are arrays of ``count`` rows."""
    for name, rows in targets.items() if isinstance(targets, dict) else [("targets", targets)]:
        expected = f"an array with a row for each of {count} images"
        check(owner, name, np.shape(rows), isinstance(rows, np.ndarray) and len(rows) == count, expected)


def epoch_rows(rows: Array, seed: int, epoch: int, weights: Array | None = None) -> Array:
    """The images of an epoch in their order, which depends on the arguments alone.

    Args:
        rows: int ``(m,)``, the images.
        seed, epoch: ints.
        weights: float ``(n,)`` by image; None: each image is taken once. Else as often as its share of the weights says
            of m images: that number rounded up or down.

    Returns:
        int ``(m,)``.
    """
    rng = np.random.default_rng((seed, epoch))
    if weights is None:
        return rng.permutation(rows)
    ends = np.cumsum(weights[rows]) / weights[rows].sum() * len(rows)
    ends = np.floor(ends + rng.random())
    ends[-1] = len(rows)
    return rng.permutation(np.repeat(rows, np.diff(ends, prepend=0).astype("int64")))


def balancing_weights(labels: Array) -> Array:
    """Weights by image that draw rare classes nearer to frequent ones: one over the root of the size of its class.

    Square-root sampling, between images and classes that count the same (Mahajan et al., ECCV 2018, section 2.2).

    Args:
        labels: int ``(n,)``.

    Returns:
        float ``(n,)``.
    """
    weights: Array = 1 / np.sqrt(np.bincount(labels)[labels])
    return weights


def flip_and_crop(images: Array, pad: int, rng: np.random.Generator) -> Array:
    """Flips half of the images and shifts each by up to ``pad`` pixels; ``(n, h, w, c)`` to the same shape."""
    n, h, w, _ = images.shape
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
    rows = rng.integers(0, 2 * pad + 1, (n, 1)) + np.arange(h)
    columns = rng.integers(0, 2 * pad + 1, (n, 1)) + np.arange(w)
    columns = np.where(rng.random((n, 1)) < 0.5, columns, columns[:, ::-1])
    cropped: Array = padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return cropped
