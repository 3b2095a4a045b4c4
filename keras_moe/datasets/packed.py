"""Packed sets in the folder that ``KERAS_MOE_DATA`` names: images as WebP or AVIF in the arrays of ``.npz`` files."""

import io
import os
import pathlib
import typing

import numpy as np

if typing.TYPE_CHECKING:
    from PIL import Image


def packed_file(name: str) -> pathlib.Path:
    """The path of the file ``name`` in the folder.

    Raises:
        FileNotFoundError: ``KERAS_MOE_DATA`` is not set, or the folder lacks the file.
    """
    folder = os.environ.get("KERAS_MOE_DATA", "")
    if not folder:
        raise FileNotFoundError(f"{name}: set KERAS_MOE_DATA to the folder of packed data sets that holds it.")
    path = pathlib.Path(folder, name)
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}. Set KERAS_MOE_DATA to the folder that holds {name}.")
    return path


def decode(data: np.ndarray) -> "Image.Image":
    """The image in an array of bytes."""
    from PIL import Image

    return Image.open(io.BytesIO(data.tobytes()))


def check_split(split: str, splits: tuple[str, ...]) -> None:
    """Raises ValueError where ``split`` is none of ``splits``."""
    if split not in splits:
        expected = ", ".join(map(repr, splits[:-1])) + f" or {splits[-1]!r}"
        raise ValueError(f"`split` must be {expected}. Received: split={split!r}")
