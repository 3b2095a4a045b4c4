"""Folders and tables of images, with labels or masks, as ``Samples``."""

import collections
import collections.abc
import pathlib

import numpy as np

from keras_moe.datasets.files.listing import folder_names, image_paths, list_files
from keras_moe.image_kinds import is_image_file
from keras_moe.images import DAMAGE, read_image
from keras_moe.insights.samples import Samples
from keras_moe.metrics import IGNORE
from keras_moe.zoo import Card


def read_labelled(data: pathlib.Path, card: Card) -> Samples:
    """Images of a folder or a table, read as ``finetune`` reads them, see ``datasets.read_labelled_files``.

    Where the data has parts, the test images are taken, or else those of ``val``. The images of classes that the card
    lacks are left out; if none of the classes of a folder is the card's, nobody knows the labels.

    Raises:
        ValueError: no image can be read; a table of other classes.
    """
    paths, labels, words, problems = _listed(data, card)
    images, numbers = [], []
    for path, label in zip(paths, labels or paths, strict=True):
        try:
            images.append(read_image(path, card.input.shape))
            numbers.append(card.classes.index(label) if labels else -1)
        except (OSError, ValueError) as error:
            if is_image_file(path):
                problems.append(str(error))
    _check_any(images, data, problems)
    source = f"{len(images):,} {words} in the {'folder' if data.is_dir() else 'table'} {data.name}"
    return Samples(np.stack(images), np.array(numbers) if labels else None, source, tuple(problems))


def _listed(data: pathlib.Path, card: Card) -> tuple[list[str], list[str], str, list[str]]:
    """Paths, their labels or none, what the images are in a word or two, and what was left out."""
    if data.is_dir() and not folder_names(data):
        return image_paths(data), [], "images", []
    listing = list_files(data)
    rows, words = list(range(len(listing.paths))), "images"
    if part := next((part for part in ("test", "val") if part in listing.parts), None):
        rows = [row for row in rows if listing.parts[row] == part]
        words = f"{'test' if part == 'test' else 'validation'} images"
    counts = collections.Counter(listing.labels[row] for row in rows)
    unknown = sorted(set(counts) - set(card.classes))
    if len(unknown) == len(counts):
        if data.is_dir():
            return image_paths(data), [], "images", []
        raise ValueError(
            f"{data}: expected labels that are classes of {card.name}, {card.classes[:5]}…. Received: {unknown[:5]}"
        )
    problems = [str(remark) for remark in listing.remarks if not data.is_dir()]
    problems += [f"{label}: no class of {card.name}; its {counts[label]} images are left out" for label in unknown]
    rows = [row for row in rows if listing.labels[row] in card.classes]
    return [listing.paths[row] for row in rows], [listing.labels[row] for row in rows], words, problems


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
    paths = [pathlib.Path(path) for path in image_paths(source)]
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
