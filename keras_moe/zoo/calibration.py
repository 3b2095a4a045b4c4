"""The calibration images of a model folder: thumbnails at the size of the model's input, lossless, on one sheet.

They calibrate int8 files and are what ``bench``, ``insights`` and ``predict`` show without other images.
"""

import io
import typing

import numpy as np

from keras_moe.checks import IntegrityError, are_fractions
from keras_moe.zoo.sources import Name, find

SHEET = "calibration.webp"

_MOST = 1 << 24  # bytes of a sheet
IMAGES = 80  # on a sheet, at most: 20 for each of four experts
_COLUMNS, _PIXELS = 8, 1 << 22
_CHANNELS = (1, 3, 4)


def calibration_images(name: Name) -> np.ndarray | None:
    """The calibration images that ``save`` kept in a model folder.

    Args:
        name: as for ``load``.

    Returns:
        uint8 ``(n, height, width, channels)`` at the size of the model's input; None: it comes without.

    Raises:
        ValueError: an unknown model.
        IntegrityError: a file that is not the card's, or not such a sheet.

    Example:
        >>> model = keras_moe.models.HydraNet((8, 8, 3), backbone="resnet8", num_experts=4, classes=2)
        >>> card = zoo.save(model, "pets", calibration=np.full((2, 8, 8, 3), 7.0))
        >>> zoo.calibration_images("pets").shape
        (2, 8, 8, 3)
    """
    source = find(name)
    card = source.card(check_model=False)
    files = [file for file in card.files if file.name == SHEET]
    if not files:
        return None
    if files[0].size > _MOST:
        raise IntegrityError(f"{source.label}/{SHEET}: expected at most {_MOST:,} bytes. Received: {files[0].size:,}")
    return from_sheet(source.fetch(files[0]), card.input.shape, f"{source.label}/{SHEET}")


def to_sheet(images: typing.Any, shape: tuple[int, ...]) -> bytes:
    """A WebP file with an even sample of the images, in full rows of 8 (fewer images: one row).

    Args:
        images: array ``(n, height, width, channels)``, values in [0, 255]; they are rounded to whole numbers.
        shape: that of one image; 1, 3 or 4 channels.

    Raises:
        ValueError: no images, of another shape or range, or larger than 4 million pixels.
    """
    from PIL import Image

    height, width, channels = shape
    images = np.asarray(images)
    most = min(IMAGES, _PIXELS // (height * width))
    if images.shape[1:] != shape or len(images) == 0 or channels not in _CHANNELS or most == 0:
        raise ValueError(
            f"save: `calibration` must be one or more images {shape}, of 1, 3 or 4 channels and at most {_PIXELS:,} "
            f"pixels. Received: {images.dtype} of shape {images.shape}"
        )
    if images.dtype.kind not in "uif" or not (images.min() >= 0 and images.max() <= 255):
        raise ValueError(f"save: `calibration` must be pixels in [0, 255]. Received: {images.dtype}, or beyond them")
    if are_fractions(images):  # rounding would leave nothing of them
        raise ValueError(
            "save: `calibration` must be pixels in [0, 255]. Received: numbers in [0, 1]; multiply by 255."
        )
    count = min(len(images), most)
    columns = min(count, _COLUMNS)
    rows = count // columns
    sample = images[np.linspace(0, len(images) - 1, rows * columns).round().astype(int)]
    pixels = np.rint(sample).astype("uint8")
    pixels = np.repeat(pixels, 3, axis=-1) if channels == 1 else pixels
    tiles = pixels.reshape(rows, columns, height, width, -1).transpose(0, 2, 1, 3, 4)
    buffer = io.BytesIO()
    Image.fromarray(tiles.reshape(rows * height, columns * width, -1)).save(buffer, "WEBP", lossless=True, exact=True)
    return buffer.getvalue()


def from_sheet(data: bytes, shape: tuple[int, ...], label: str) -> np.ndarray:
    """The images on a sheet.

    Args:
        data: bytes of the file, a stranger's perhaps: nothing is decoded before its size is known.
        shape: ``(height, width, channels)`` of the model's input.
        label: what errors call the file.

    Returns:
        uint8 ``(n, height, width, channels)``.

    Raises:
        IntegrityError: not such a sheet.
    """
    from PIL import Image

    height, width, channels = shape
    try:
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as sheet:
            (wide, high), frames = sheet.size, getattr(sheet, "n_frames", 1)
            if frames != 1 or wide % width or high % height or wide * high > _PIXELS or channels not in _CHANNELS:
                raise ValueError(f"{frames} pictures of {wide} x {high} pixels")
            pixels = np.asarray(sheet.convert("RGBA" if channels == 4 else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise IntegrityError(f"{label}: expected a sheet of images of {width} x {height}. Received: {error}") from error
    tiles = pixels.reshape(high // height, height, wide // width, width, -1).transpose(0, 2, 1, 3, 4)
    return tiles.reshape(-1, height, width, pixels.shape[-1])[..., :channels]
