"""Images for insights: a data set by name, a folder, a table, or an ``.npz`` file."""

import dataclasses
import os
import pathlib
import zipfile
import zlib

import numpy as np

from keras_moe.datasets import Dataset, labelled
from keras_moe.files import is_table
from keras_moe.insights.folders import read_labelled, read_masked
from keras_moe.insights.samples import Samples
from keras_moe.labels import check_masks
from keras_moe.zoo import Card


def read_samples(data: str | os.PathLike[str], card: Card) -> Samples:
    """Reads the images that ``data`` names for the model of ``card``.

    Args:
        data: the name of a data set of the card's task, one of ``datasets.LABELLED``: its test split. For a classifier
            a folder of images, or what ``datasets.read_labelled_files`` takes, a folder with a folder for each class or
            a ``.csv`` file: the test images, where it has parts. For segmentation see ``read_masked``. An ``.npz``
            file: ``images`` ``(n, h, w, c)`` in [0, 255] and, if it has any, ``labels``, ``(n,)`` or masks
            ``(n, h, w)``; pickled objects are not read.
        card: a ``Card``.

    Returns:
        ``Samples`` with at least one image.

    Raises:
        ValueError: data of another kind, images of another shape or range, labels that the card has no class for, or
            masks without any label.
        FileNotFoundError: no such folder or file.

    Example:
        >>> np.savez("mine.npz", images=np.zeros((3, 8, 8, 1), "uint8"), labels=np.array([0, 1, 9]))
        >>> samples = insights.read_samples("mine.npz", zoo.card("test_hydranet"))
        >>> samples.images.shape, samples.labels, samples.source
        ((3, 8, 8, 1), array([0, 1, 9]), '3 images in mine.npz')
    """
    path, pixels = pathlib.Path(data), card.task == "segmentation"
    named = labelled(card.task)
    if str(data) in named:
        samples = _test_split(named[str(data)], card)
    elif path.is_dir() or (is_table(path) and path.is_file() and not pixels):
        samples = read_masked(path, card) if pixels else read_labelled(path, card)
    elif path.suffix == ".npz" and path.is_file():
        samples = _npz(path)
    else:
        kinds = f"one of {sorted(named)}, a folder of images{'' if pixels else ', a .csv file'} or an .npz file"
        error = ValueError if path.exists() else FileNotFoundError
        raise error(f"Expected DATA to be {kinds}. Received: {str(data)!r}")
    _check_images(samples, card, data)
    if samples.labels is not None and pixels:
        check_masks(samples.images, samples.labels, len(card.classes))
    elif samples.labels is not None:
        _check_labels(samples.images, samples.labels, card, data)
    return dataclasses.replace(samples, images=samples.images.astype("float32"))


def _test_split(dataset: Dataset, card: Card) -> Samples:
    images, labels, domains = dataset.load_test(card.input.shape)
    groups = None if domains is None else np.array(dataset.domains)[domains]
    return Samples(images, labels, f"{len(images):,} test images of {dataset.name}", groups=groups)


def _npz(path: pathlib.Path) -> Samples:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if "images" not in file.files:
                raise ValueError(f"it holds {sorted(file.files)} and no 'images'")
            images, labels = file["images"], file["labels"] if "labels" in file.files else None
    except (ValueError, OSError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not an .npz with 'images' and perhaps 'labels': {error}") from error
    return Samples(images, labels, f"{len(images):,} images in {path.name}" if images.ndim else "")


def _check_images(samples: Samples, card: Card, data: str | os.PathLike[str]) -> None:
    images, shape = samples.images, tuple(card.input.shape)
    if images.shape[1:] != shape or len(images) == 0 or images.dtype.kind not in "iuf":
        raise ValueError(
            f"Expected one image or more of shape {shape}, what {card.name} takes. Received in {data}: "
            f"{images.dtype} of shape {images.shape}"
        )
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 255):
        raise ValueError(f"Expected pixels in [0, 255]. Received in {data}: from {low} to {high}")


def _check_labels(images: np.ndarray, labels: np.ndarray, card: Card, data: str | os.PathLike[str]) -> None:
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"Expected one integer label per image. Received in {data}: {len(images)} images and {labels.dtype} labels "
            f"of shape {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= len(card.classes):
        raise ValueError(
            f"Expected labels in 0…{len(card.classes) - 1}, the classes of {card.name}. Received in {data}: from "
            f"{labels.min()} to {labels.max()}"
        )
