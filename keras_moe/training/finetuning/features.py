"""What the frozen trunk makes of the images of each part, cached."""

import dataclasses
import pathlib
import typing
from collections.abc import Callable

import keras
import numpy as np

from keras_moe.datasets import ImageFiles, LabelledFiles
from keras_moe.training.features import Track, cache_views
from keras_moe.types import Array

_CHUNK = 512  # images whose features are in memory at once
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


def by_chunks(ask: Callable[[Array], typing.Any], features: Array) -> typing.Any:
    """What ``ask`` gives for features, asked about a few images at a time: Keras would read a whole file at once.

    Args:
        ask: features ``(m, …)`` -> an array ``(m, …)``, or a tuple of such arrays and of None.
        features: ``(n, …)``, perhaps memory-mapped.
    """
    chunks = [ask(features[i : i + _CHUNK]) for i in range(0, len(features), _CHUNK)]
    if not isinstance(chunks[0], tuple):
        return np.concatenate(chunks)
    return tuple(None if parts[0] is None else np.concatenate(parts) for parts in zip(*chunks, strict=True))
