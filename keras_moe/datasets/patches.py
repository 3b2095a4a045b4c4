"""Photographs as pairs of low- and high-resolution patches, for super-resolution."""

from collections.abc import Sequence

import numpy as np

from keras_moe.checks import integer, number


def shrink(image: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The low-resolution image of a high-resolution one: Pillow's antialiased bicubic on uint8.

    Args:
        image: uint8 ``(h, w, 3)``.
        scale: int; rows and columns beyond a multiple of it are cut off first.

    Returns:
        ``(low, high)``: uint8 ``(h // scale, w // scale, 3)`` and the cut image.
    """
    from PIL import Image

    scale = integer("shrink", "scale", scale, 1)
    height, width = image.shape[0] // scale, image.shape[1] // scale
    high = image[: height * scale, : width * scale]
    low = Image.fromarray(high).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(low), high


def bicubic(image: np.ndarray, scale: int) -> np.ndarray:
    """An image, uint8 ``(h, w, 3)``, enlarged by Pillow's bicubic filter: the baseline of every table."""
    from PIL import Image

    scale = integer("bicubic", "scale", scale, 1)
    size = (image.shape[1] * scale, image.shape[0] * scale)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def cut_patches(
    images: Sequence[np.ndarray],
    scale: int,
    patch: int = 32,
    stride: int = 16,
    zooms: Sequence[float] = (1.0,),
) -> tuple[np.ndarray, np.ndarray]:
    """Dense patches of photographs and of smaller versions of them (the paper's data, with fewer versions).

    Args:
        images: list of uint8 ``(h, w, 3)``; an image smaller than a patch gives none.
        scale: int.
        patch, stride: ints, in low-resolution pixels.
        zooms: floats in (0, 1]: patches are cut from the photographs at each of these sizes.

    Returns:
        ``(low, high)``: uint8 ``(n, patch, patch, 3)`` and ``(n, scale * patch, scale * patch, 3)``.

    Raises:
        ValueError: no image is large enough for one patch.

    Example:
        >>> photograph = np.random.default_rng(0).integers(0, 256, (64, 64, 3), "uint8")
        >>> low, high = datasets.cut_patches([photograph], scale=2, patch=16)
        >>> low.shape, high.shape
        ((4, 16, 16, 3), (4, 32, 32, 3))
    """
    from PIL import Image

    scale = integer("cut_patches", "scale", scale, 1)
    patch, stride = integer("cut_patches", "patch", patch, 1), integer("cut_patches", "stride", stride, 1)
    zooms = [number("cut_patches", "zooms", zoom, above=0, most=1) for zoom in zooms]
    lows, highs = [], []
    for zoom in zooms:
        for image in images:
            size = (round(image.shape[1] * zoom), round(image.shape[0] * zoom))
            zoomed = image if zoom == 1 else np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
            low, high = shrink(zoomed, scale)
            for y in range(0, low.shape[0] - patch + 1, stride):
                for x in range(0, low.shape[1] - patch + 1, stride):
                    lows.append(low[y : y + patch, x : x + patch])
                    highs.append(high[y * scale : (y + patch) * scale, x * scale : (x + patch) * scale])
    if not lows:
        raise ValueError(f"Expected images of at least {patch * scale} x {patch * scale} pixels. Received: none")
    return np.stack(lows), np.stack(highs)


def split_by_psnr(low: np.ndarray, high: np.ndarray, groups: int = 3) -> np.ndarray:
    """The group of each patch by its bicubic PSNR, int ``(n,)``: ``groups`` of equal size, 0 the easiest.

    The paper splits at terciles of the PSNR of a network that it does not name; bicubic needs no network.
    """
    groups = integer("split_by_psnr", "groups", groups, 1)
    scale, pairs = high.shape[1] // low.shape[1], zip(low, high, strict=True)
    errors = [np.mean((bicubic(a, scale).astype("float32") - b) ** 2) for a, b in pairs]
    ranks: np.ndarray = np.argsort(np.argsort(errors, kind="stable"))
    return ranks * groups // len(errors)
