"""Images to look into: a data set by name, a folder, or an ``.npz`` file."""

import dataclasses
import pathlib
import zipfile
import zlib

import numpy as np

from keras_moe import datasets
from keras_moe.images import read_image

DATASETS = {"digits": datasets.digits, "cifar100": datasets.cifar100}


@dataclasses.dataclass(frozen=True)
class Samples:
    """Images in [0, 255], ``(n, h, w, c)``, and what they show.

    ``labels`` are int ``(n,)`` in the order of the card's classes, or None where nobody knows; ``source`` says in words
    what they are; ``problems`` lists the files that could not be read.
    """

    images: np.ndarray
    labels: np.ndarray | None
    source: str
    problems: tuple[str, ...] = ()


def read_samples(data, card):
    """Reads what ``data`` names, for the classifier of ``card``.

    Args:
        data: ``"digits"`` or ``"cifar100"``: the test split of that set. A folder: its images, also those in
            sub-folders; these are labels if they are named like classes of the card. An ``.npz`` file: ``images``
            ``(n, h, w, c)`` in [0, 255] and, if it has any, ``labels`` ``(n,)``; pickled objects are not read.
        card: a ``Card``.

    Returns:
        ``Samples`` with at least one image.

    Raises:
        ValueError: data of another kind, images of another shape or range, labels that the card has no class for.
        FileNotFoundError: no such folder or file.
    """
    path = pathlib.Path(data)
    if str(data) in DATASETS:
        images, labels = DATASETS[str(data)]()[1]
        samples = Samples(images, labels, f"{len(images):,} test images of {data}")
    elif path.is_dir():
        samples = _folder(path, card)
    elif path.suffix == ".npz" and path.is_file():
        samples = _npz(path)
    else:
        kinds = f"one of {sorted(DATASETS)}, a folder of images or an .npz file"
        error = ValueError if path.exists() else FileNotFoundError
        raise error(f"Expected DATA to be {kinds}. Received: {str(data)!r}")
    _check(samples, card, data)
    return dataclasses.replace(samples, images=samples.images.astype("float32"))


def _folder(folder, card):
    from PIL import Image

    suffixes = Image.registered_extensions()
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
    names = {p.parent.relative_to(folder).as_posix() for p in paths}
    known = names & set(card.classes)
    if known and known != names:
        raise ValueError(
            f"Expected every folder of images in {folder} to be named like a class of {card.name}, or none. Received "
            f"{len(known)} that are, and {sorted(names - known)[:5]}"
        )
    images, labels, problems = [], [], []
    for path in paths:
        try:
            images.append(read_image(path, card.input.shape))
            labels.append(path.parent.name)
        except (OSError, ValueError) as error:
            problems.append(str(error))
    if not images:
        raise ValueError(
            f"Expected images in {folder}. Received: none that can be read. {' '.join(problems[:3])}".rstrip()
        )
    found = np.array([card.classes.index(label) for label in labels]) if known else None
    return Samples(np.stack(images), found, f"{len(images):,} images in the folder {folder.name}", tuple(problems))


def _npz(path):
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if "images" not in file.files:
                raise ValueError(f"it holds {sorted(file.files)} and no 'images'")
            images, labels = file["images"], file["labels"] if "labels" in file.files else None
    except (ValueError, OSError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not an .npz with 'images' and perhaps 'labels': {error}") from error
    return Samples(images, labels, f"{len(images):,} images in {path.name}" if images.ndim else "")


def _check(samples, card, data):
    images, labels, shape = samples.images, samples.labels, tuple(card.input.shape)
    if images.shape[1:] != shape or len(images) == 0 or images.dtype.kind not in "iuf":
        raise ValueError(
            f"Expected one image or more of shape {shape}, what {card.name} takes. Received in {data}: "
            f"{images.dtype} of shape {images.shape}"
        )
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 255):
        raise ValueError(f"Expected pixels in [0, 255]. Received in {data}: from {low} to {high}")
    if labels is None:
        return
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
