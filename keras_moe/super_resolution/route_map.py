"""A picture of which branch each patch of an image took."""

import typing

import numpy as np

from keras_moe.checks import integer
from keras_moe.super_resolution.tiles import Cut
from keras_moe.super_resolution.upscale import Upscaled

if typing.TYPE_CHECKING:
    from PIL.Image import Image

# Cheapest first: green, amber, red; further branches go on through the list.
COLOURS = ((46, 160, 67), (230, 170, 30), (210, 50, 50), (120, 70, 200), (40, 120, 220))


def route_map(upscaled: Upscaled, longest: int = 1600) -> "Image":
    """The enlarged image under a veil in the colour of each patch's branch: green the cheapest, then amber, red.

    Args:
        upscaled: an ``Upscaled``.
        longest: int, pixels of the picture's longer side at most.

    Returns:
        A Pillow image, RGB.

    Raises:
        ValueError: a ``longest`` that is no int >= 1.

    Example:
        >>> model = keras_moe.models.ClassSR((16, 16, 3), scale=2)
        >>> upscaled = super_resolution.upscale_routed(model, np.zeros((12, 20, 3), "uint8"))
        >>> super_resolution.route_map(upscaled).size
        (40, 24)
    """
    from PIL import Image

    longest = integer("route_map", "longest", longest, 1)
    pixels = np.clip(np.rint(upscaled.image), 0, 255).astype("uint8").squeeze()
    picture = Image.fromarray(pixels).convert("RGB")
    picture.thumbnail((longest, longest))
    below, beyond = _cells(upscaled.rows, upscaled.margins[0], picture.height)
    left, right = _cells(upscaled.columns, upscaled.margins[1], picture.width)
    veil = np.asarray(COLOURS, "uint8")[upscaled.route % len(COLOURS)]
    colours = np.repeat(np.repeat(veil, beyond - below, axis=0), right - left, axis=1)
    return Image.blend(picture, Image.fromarray(colours), 0.35)


def _cells(cut: Cut, margin: int, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """First pixel of each patch and the one after its last, of ``pixels`` in all: overlaps shared half and half."""
    starts = np.asarray(cut.starts)
    edges = np.concatenate([[margin], (starts[:-1] + cut.size + starts[1:]) / 2, [cut.length - margin]])
    edges = np.rint((edges - margin) * pixels / (cut.length - 2 * margin)).astype(int)
    return edges[:-1], edges[1:]
