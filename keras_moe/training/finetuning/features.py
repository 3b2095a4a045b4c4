"""What the frozen trunk makes of the images of each part, cached."""

import dataclasses
import pathlib

import keras
import numpy as np

from keras_moe.datasets import ImageFiles, LabelledFiles
from keras_moe.training.features import Track, cache_views
from keras_moe.types import Array

_VALIDATED = 2000  # images at most that a stage is validated with, in memory


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of the data: its images and labels, and features of the whole images and of random views."""

    images: ImageFiles
    labels: Array
    views: list[Array]


def cached_part(
    files: LabelledFiles, part: str, trunk: keras.Model, folder: pathlib.Path, views: int, seed: int, track: Track
) -> Part:
    """The ``Part`` called ``part``, its features in a folder of that name in ``folder``."""
    rows = files.rows(part)
    # A view shows 35 % of the area or more: of a picture twice as large it is not enlarged.
    images = ImageFiles([files.paths[row] for row in rows], 2 * trunk.input_shape[1])
    return Part(images, files.labels[rows], cache_views(trunk, images, folder / part, views, seed, track=track))


def validation_rows(labels: Array) -> Array:
    """The images that a stage is validated with: all, or so many drawn once."""
    if len(labels) <= _VALIDATED:
        return np.arange(len(labels))
    return np.sort(np.random.default_rng(0).permutation(len(labels))[:_VALIDATED])
