"""Batches of image files that are decoded, cut and recoloured while the network learns."""

import concurrent.futures
import os

import keras
import numpy as np

from keras_moe.batches import check_count, epoch_rows
from keras_moe.checks import flag, integer
from keras_moe.images import centred, with_channels
from keras_moe.training.augmentation import random_view
from keras_moe.training.features import Images
from keras_moe.types import Array, Shape


class FileBatches(keras.utils.PyDataset):
    """Shuffled batches of random views, in memory only as many as are asked for, and the next one.

    Threads make the next batch while the network learns from this one: Pillow decodes, cuts and scales without Python's
    lock. Two threads took as much CPU time for a photograph of 224 pixels as none, two processes, which copy the views,
    1.6 times as much (measured once, by no script of this repository). Order and views depend on seed and epoch alone.

    Args:
        images: a sequence of n images uint8 ``(h, w, 3)``, such as ``datasets.ImageFiles``, read one by one.
        targets: dict, output -> array ``(n, …)``.
        input_shape: ``(size, size, 1 or 3)``, of the model.
        batch_size: int. A last, smaller batch is left out.
        augment: bool: ``random_view``; else the centred square.
        seed: int.
        rows: int array ``(m,)``, the images to take; None: all.
        weights: float array ``(n,)``, see ``epoch_rows``, or None.

    Attributes:
        epoch: int, from 0; advanced by Keras at the end of each epoch.

    Raises:
        ValueError: fewer images than a batch has, or not as many targets as images.

    Example:
        >>> from PIL import Image
        >>> for i in range(4):
        ...     Image.new("RGB", (30, 20), (60 * i, 0, 0)).save(f"{i}.png")
        >>> files = datasets.ImageFiles([f"{i}.png" for i in range(4)], least=16)
        >>> batches = training.FileBatches(files, {"prediction": np.arange(4)}, (8, 8, 3), batch_size=2, augment=False)
        >>> x, y = batches[0]
        >>> x.shape, np.array_equal(x[:, 0, 0, 0], 60 * y["prediction"])
        ((2, 8, 8, 3), True)
    """

    def __init__(
        self,
        images: Images,
        targets: dict[str, Array],
        input_shape: Shape,
        batch_size: int = 32,
        augment: bool = True,
        seed: int = 0,
        rows: Array | None = None,
        weights: Array | None = None,
    ) -> None:
        super().__init__()
        self.batch_size = integer("FileBatches", "batch_size", batch_size, 1)
        self.augment, self.seed = flag("FileBatches", "augment", augment), integer("FileBatches", "seed", seed, 0)
        self.images, self.targets, self.weights, self.epoch = images, targets, weights, 0
        self.size, self.channels = input_shape[0], input_shape[2]
        self.rows = np.arange(len(images)) if rows is None else np.asarray(rows)
        if len(self.rows) < self.batch_size:
            raise ValueError(f"Expected one batch of {batch_size} images or more. Received: {len(self.rows)} images")
        check_count("FileBatches", len(images), targets)
        self._threads = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
        self._coming: dict[tuple[int, int], list[concurrent.futures.Future[Array]]] = {}

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def __getitem__(self, i: int) -> tuple[Array, dict[str, Array]]:
        views = self._coming.pop((self.epoch, i), None) or self._begin(i)
        self._coming = {(self.epoch, i + 1): self._begin(i + 1)} if i + 1 < len(self) else {}
        images = with_channels(np.stack([view.result() for view in views]), self.channels)
        rows = self._rows(i)
        return images.astype("float32"), {name: target[rows] for name, target in self.targets.items()}

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def _rows(self, i: int) -> Array:
        order = epoch_rows(self.rows, self.seed, self.epoch, self.weights)
        return order[i * self.batch_size : (i + 1) * self.batch_size]

    def _begin(self, i: int) -> list[concurrent.futures.Future[Array]]:
        rows = self._rows(i)
        return [self._threads.submit(self._view, int(row), i * self.batch_size + at) for at, row in enumerate(rows)]

    def _view(self, row: int, at: int) -> Array:
        image = self.images[row]
        if not self.augment:
            return np.asarray(centred([image], self.size)[0])
        return random_view(image, self.size, np.random.default_rng((self.seed, self.epoch, at)))
