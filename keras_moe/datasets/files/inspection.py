"""Inspection of files: each is opened once, checked, and reduced to a digest and a hash of its look."""

import concurrent.futures
import hashlib
import os
import pathlib
import typing
import warnings
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from keras_moe.image_kinds import is_image_file, register_heic, unreadable
from keras_moe.images import DAMAGE, open_image

if typing.TYPE_CHECKING:
    from PIL.Image import Image

NO_IMAGE = "is no image, by name and content"
TINY = 32  # pixels: a shorter side than that is worth a remark
_CHUNK = 1024  # files in flight at once


class Facts(typing.NamedTuple):
    """What is known of a file: a digest of its bytes and a hash of its look, 128 bits, both None if it is unreadable,
    a word on it, empty where nothing is odd, and whether it claims to be an image at all."""

    digest: bytes | None
    look: bytes | None
    word: str
    is_image: bool = True


def inspect_files(
    paths: Sequence[str], track: Callable[[Iterable[int], int], Iterable[int]] = lambda steps, total: steps
) -> list[Facts]:
    """The ``Facts`` of each file, by threads (Pillow decodes without Python's lock).

    Args:
        paths: of the files.
        track: wraps the iteration over ``total`` steps, to show progress.
    """
    facts: list[Facts] = []
    starts = range(0, len(paths), _CHUNK)
    with warnings.catch_warnings(), concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        warnings.simplefilter("ignore")  # of Pillow, on odd but readable files
        for start in track(starts, len(starts)):
            facts += threads.map(inspect_file, paths[start : start + _CHUNK])
    return facts


def inspect_file(path: str) -> Facts:
    """The ``Facts`` of one file."""
    try:
        words, image = _oddities(path), open_image(path, least=2 * TINY)
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "blake2b").digest()[:16]
        return Facts(digest, look(image), "; ".join(words))
    except DAMAGE as error:
        is_image = is_image_file(path)
        return Facts(None, None, _reason(path, error) if is_image else NO_IMAGE, is_image)


def look(image: "Image") -> bytes:
    """A difference hash of an image, 128 bits: which of two neighbours is brighter, across and down, on 9x9 pixels.

    Pictures that were scaled, compressed anew or recoloured a little differ in few bits.
    """
    small = np.asarray(image.convert("L").resize((9, 9)), "int16")
    across, down = small[:8, :8] < small[:8, 1:], small[:8, :8] < small[1:, :8]
    return np.packbits(np.stack([across, down])).tobytes()


def _oddities(path: str) -> list[str]:
    """The oddities of a usable image, from its header alone."""
    from PIL import Image

    register_heic()
    try:
        opened = Image.open(path)
    except Image.DecompressionBombError as error:
        raise ValueError(f"too large to open safely: {error}") from error
    with opened as image:
        width, height = image.size
        if width * height > (Image.MAX_IMAGE_PIXELS or width * height):  # Pillow warns of them, and opens them
            raise ValueError(f"too large to open safely: {width} x {height} pixels")
        named = Image.registered_extensions().get(pathlib.Path(path).suffix.lower())
        if {named, image.format} == {"JPEG", "MPO"}:  # what cameras write as .jpg
            named = image.format
        oddities = {
            f"its name says {named or 'nothing'}, its content {image.format}": named != image.format,
            "an animation, of which the first picture is used": getattr(image, "is_animated", False) and named != "MPO",
            "the colours are CMYK": image.mode == "CMYK",
            "more than 8 bits a channel": image.mode.startswith(("I", "F")),
            f"tiny: {width} x {height} pixels": min(width, height) < TINY,
            "turned by its EXIF orientation": image.getexif().get(0x0112, 1) not in (0, 1),
        }
        return [word for word, holds in oddities.items() if holds]


def _reason(path: str, error: Exception) -> str:
    text = str(error).removeprefix(path).strip(" :")
    if "cannot identify image file" in text or "not an image" in text:
        return "is empty" if os.path.getsize(path) == 0 else unreadable(path, None).split(" that can be read (")[0]
    return text
