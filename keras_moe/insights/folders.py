"""Folders of images, with labels or masks, as ``Samples``."""

import collections.abc
import pathlib

import numpy as np

from keras_moe.datasets.files.listing import is_hidden
from keras_moe.images import DAMAGE, read_image
from keras_moe.insights.samples import Samples
from keras_moe.metrics import IGNORE
from keras_moe.zoo import Card


def read_labelled(folder: pathlib.Path, card: Card) -> Samples:
    """Images in a folder and below; the names of sub-folders are labels if all of them are classes of the card.

    Raises:
        ValueError: only some sub-folders are named like classes, or no image can be read.
    """
    paths = image_files(folder)
    names = {p.parent.relative_to(folder).as_posix() for p in paths}
    class_names = names & set(card.classes)
    if class_names and class_names != names:
        raise ValueError(
            f"Expected every folder of images in {folder} to be named like a class of {card.name}, or none. Received "
            f"{len(class_names)} that are, and {sorted(names - class_names)[:5]}"
        )
    images, labels, problems = [], [], []
    for path in paths:
        try:
            images.append(read_image(path, card.input.shape))
            labels.append(path.parent.name)
        except (OSError, ValueError) as error:
            problems.append(str(error))
    _check_any(images, folder, problems)
    numbers = np.array([card.classes.index(label) for label in labels]) if class_names else None
    return Samples(np.stack(images), numbers, f"{len(images):,} images in the folder {folder.name}", tuple(problems))


def read_masked(folder: pathlib.Path, card: Card) -> Samples:
    """Images in ``folder/images`` and their masks in ``folder/masks``, for a segmentation model.

    Every image ``images/**/NAME.*`` has its mask at ``masks/**/NAME.png``, of the same size: 8 bits, grey or palette,
    the value of a pixel is the number of its class, in the order of the card's, and 255 is no label. Without a folder
    ``masks`` nothing is known. If all images lie in folders below ``images``, the names of these are their groups.
    Image and mask are cropped and resized together, as ``read_image`` does.

    Raises:
        ValueError: no folder ``images``, no image that can be read, an image without its mask, or masks in which 255
            stands beside nothing but 0: it is no class.
    """
    source, masks = folder / "images", folder / "masks"
    if not source.is_dir():
        raise ValueError(f"Expected a folder 'images' and perhaps one 'masks' in {folder}. Received: none 'images'")
    paths = image_files(source)
    mask_of = {path: (masks / path.relative_to(source)).with_suffix(".png") for path in paths}
    missing = [str(mask) for mask in mask_of.values() if not mask.is_file()] if masks.is_dir() else []
    if missing:
        raise ValueError(f"Expected a mask for every image. Received: {len(missing)} without, the first {missing[0]}")
    images, pixels, groups, problems = [], [], [], []
    for path, mask in mask_of.items():
        try:
            image = read_image(path, card.input.shape)
            if masks.is_dir():
                pixels.append(_read_mask(mask, path, card.input.shape))
            images.append(image)
            groups.append(path.parent.relative_to(source).as_posix())
        except (OSError, ValueError) as error:
            problems.append(str(error))
    _check_any(images, source, problems)
    labels = np.stack(pixels) if masks.is_dir() else None
    if labels is not None and set(np.unique(labels)) == {0, IGNORE}:
        raise ValueError(f"The masks hold 0 and {IGNORE} only, and {IGNORE} is no label: write 1 for the second class.")
    return Samples(
        np.stack(images), labels, f"{len(images):,} images in the folder {folder.name}", tuple(problems),
        None if "." in groups else np.array(groups),
    )  # fmt: skip


def image_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files in ``folder`` and below whose endings are those of images, sorted; hidden ones are ignored."""
    from PIL import Image

    suffixes = Image.registered_extensions()
    files = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    return sorted(path for path in files if not any(map(is_hidden, path.relative_to(folder).parts)))


def _read_mask(path: pathlib.Path, image_path: pathlib.Path, input_shape: collections.abc.Sequence[int]) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=("PNG",)) as mask, Image.open(image_path) as image:
            size = ImageOps.exif_transpose(image).size
            if mask.mode not in ("L", "P", "1") or mask.size != size:
                raise ValueError(
                    f"expected 8 bits, grey or palette, of the image's size {size}. Received: mode {mask.mode!r}, "
                    f"size {mask.size}"
                )
            labels = Image.fromarray(np.asarray(mask).astype("uint8"))  # of a palette its indices, not its colours
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a mask that can be read: {error}") from error
    height, width = input_shape[:2]
    return np.asarray(ImageOps.fit(labels, (width, height), Image.Resampling.NEAREST))


def _check_any(images: list[np.ndarray], folder: pathlib.Path, problems: list[str]) -> None:
    if not images:
        raise ValueError(
            f"Expected images in {folder}. Received: none that can be read. {' '.join(problems[:3])}".rstrip()
        )
