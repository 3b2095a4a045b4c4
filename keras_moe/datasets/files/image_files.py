"""Image files as a sequence of arrays, decoded on access."""

import collections.abc
import concurrent.futures
import os
import typing

import numpy as np

from keras_moe.checks import integer
from keras_moe.images import open_image

_FAR = 1.5  # how much longer than asked for the shorter side of a kept picture may be


class ImageFiles(collections.abc.Sequence[np.ndarray]):
    """n image files; ``files[i]`` is one picture, ``files[a:b]`` or ``files[rows]`` a list of them.

    Pictures are upright, RGB and whole; those that are much larger than ``least`` are reduced. Nothing is kept: memory
    holds what is asked for. Several are decoded by threads at once, for Pillow decodes without Python's lock.

    Args:
        paths: n str.
        least: int, pixels: the shorter side is reduced to no less.

    Example:
        >>> from PIL import Image
        >>> Image.new("RGB", (90, 60), (255, 0, 0)).save("red.png")
        >>> files = datasets.ImageFiles(["red.png", "red.png"], least=20)
        >>> len(files), files[0].shape, files[:2][1][0, 0]
        (2, (20, 30, 3), array([255,   0,   0], dtype=uint8))
    """

    def __init__(self, paths: collections.abc.Sequence[str], least: int) -> None:
        self.paths, self.least = list(paths), integer("ImageFiles", "least", least, 1)

    def __len__(self) -> int:
        return len(self.paths)

    @typing.overload
    def __getitem__(self, rows: int | np.integer) -> np.ndarray: ...

    @typing.overload
    def __getitem__(self, rows: slice | collections.abc.Iterable[int]) -> list[np.ndarray]: ...

    def __getitem__(
        self, rows: int | np.integer | slice | collections.abc.Iterable[int]
    ) -> np.ndarray | list[np.ndarray]:
        if isinstance(rows, (int, np.integer)):
            return self._read(self.paths[rows])
        chosen = self.paths[rows] if isinstance(rows, slice) else [self.paths[row] for row in rows]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
            return list(threads.map(self._read, chosen))

    def _read(self, path: str) -> np.ndarray:
        image = open_image(path, self.least)
        excess = min(image.size) / self.least
        if excess > _FAR:
            image = image.resize((round(image.width / excess), round(image.height / excess)), reducing_gap=2.0)
        return np.asarray(image)
