"""Pairs of low- and high-resolution patches for super-resolution."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_moe.checks import integer, number
from keras_moe.types import Array


def shrink(image: Array, scale: int) -> tuple[Array, Array]:
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


def bicubic(image: Array, scale: int) -> Array:
    """An image, uint8 ``(h, w, 3)``, enlarged by Pillow's bicubic filter: the baseline of every table."""
    from PIL import Image

    scale = integer("bicubic", "scale", scale, 1)
    size = (image.shape[1] * scale, image.shape[0] * scale)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def cut_patches(
    images: Sequence[Array],
    scale: int,
    patch: int = 32,
    stride: int = 16,
    zooms: Sequence[float] = (1.0,),
) -> tuple[Array, Array]:
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


def split_by_psnr(low: Array, high: Array, groups: int = 3) -> Array:
    """The group of each patch by its bicubic PSNR, int ``(n,)``: ``groups`` of equal size, 0 the easiest.

    The paper splits at terciles of the PSNR of a network that it does not name; bicubic needs no network.
    """
    groups = integer("split_by_psnr", "groups", groups, 1)
    scale, pairs = high.shape[1] // low.shape[1], zip(low, high, strict=True)
    errors = [np.mean((bicubic(a, scale).astype("float32") - b) ** 2) for a, b in pairs]
    ranks: Array = np.argsort(np.argsort(errors, kind="stable"))
    return ranks * groups // len(errors)


class PatchBatches(keras.utils.PyDataset):
    """Batches drawn at random, flipped, turned and recolored; they depend on seed, epoch and position alone.

    Args:
        low, high: as ``cut_patches`` returns them. ``high`` may be another target with a row per patch; only images are
            turned.
        outputs: names of the outputs with ``high`` as their target (see ``Stage.losses``).
        steps: int, batches per epoch.
        batch_size: int.
        seed: int.
        recolor_rate: float in [0, 1], the share of patches that are multiplied by random numbers below 1: one for all
            channels, or one for each. Good photographs hold little black and few saturated colours; a network trained
            without them tints them.

    Attributes:
        epoch: int, from 0; advanced by Keras at the end of each epoch.
    """

    def __init__(
        self,
        low: Array,
        high: Array,
        outputs: Sequence[str] = ("prediction",),
        steps: int = 500,
        batch_size: int = 16,
        seed: int = 0,
        recolor_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.low, self.high, self.outputs, self.epoch = low, high, outputs, 0
        self.steps: int = integer("PatchBatches", "steps", steps, 1)
        self.batch_size = integer("PatchBatches", "batch_size", batch_size, 1)
        self.seed = integer("PatchBatches", "seed", seed, 0)
        self.recolor_rate = number("PatchBatches", "recolor_rate", recolor_rate, 0, 1)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, i: int) -> tuple[Array, dict[str, Array]]:
        rng = np.random.default_rng((self.seed, self.epoch, i))
        rows = rng.integers(len(self.low), size=self.batch_size)
        turns, flip = int(rng.integers(4)), bool(rng.random() < 0.5)
        low, high = (_turned(patches[rows], turns, flip) for patches in (self.low, self.high))
        if self.recolor_rate:
            gain = _gains(rng, self.batch_size, self.recolor_rate)
            low, high = (patches * gain for patches in (low, high))
        return low, dict.fromkeys(self.outputs, high)

    def on_epoch_end(self) -> None:
        self.epoch += 1


def _turned(patches: Array, turns: int, flip: bool) -> Array:
    if patches.ndim < 4:
        return patches
    patches = np.rot90(patches, turns, axes=(1, 2))
    return np.ascontiguousarray(patches[:, :, ::-1] if flip else patches)


def _gains(rng: np.random.Generator, count: int, share: float) -> Array:
    """Factors of patches, float32 ``(count, 1, 1, 3)``, 1 for all but about ``share`` of them."""
    alike, apart = rng.random((count, 1)), rng.random((count, 3))
    gains = np.where(rng.random((count, 1)) < 0.5, alike, apart)
    gains = np.where(rng.random((count, 1)) < share, gains, 1).astype("float32")
    return gains[:, None, None]
