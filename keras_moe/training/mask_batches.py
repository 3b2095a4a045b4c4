"""Batches of images with masks, flipped and zoomed together."""

import numpy as np

from keras_moe.checks import integer, number
from keras_moe.metrics import IGNORE
from keras_moe.training.batches import ImageBatches, Targets
from keras_moe.types import Array


class MaskBatches(ImageBatches):
    """Shuffled, augmented batches of images and their masks, by seed and epoch alone, like ``ImageBatches``.

    Args:
        images: uint8 array ``(n, h, w, c)``, c 1 or 3.
        targets: integer or bool masks ``(n, h, w)``, or a dict of them. In a dict, arrays ``(n,)``, such as the
            domains of images, are passed on unchanged.
        batch_size: int. The last, smaller batch is left out.
        augment: bool: random horizontal flip, and a random window of the image resized to the whole, bilinear; masks
            take the nearest label, since a mean of labels is no label.
        zoom: float >= 1: the window is 1/zoom to 1 of either side.
        seed: int.

    Yields:
        ``(images, targets)``: float32 ``(batch_size, h, w, c)``, masks int32 ``(batch_size, h, w)``.

    Raises:
        ValueError: fewer images than a batch, masks of another size than the images, or colour images to augment that
            are not uint8.

    Example:
        >>> (scenes, masks, domains), _ = datasets.digit_scenes()
        >>> batches = training.MaskBatches(scenes, masks, batch_size=4)
        >>> images, targets = batches[0]
        >>> images.shape, targets.shape, targets.dtype
        ((4, 16, 16, 1), (4, 16, 16), dtype('int32'))
    """

    def __init__(
        self,
        images: Array,
        targets: Targets,
        batch_size: int = 8,
        augment: bool = True,
        zoom: float = 1.5,
        seed: int = 0,
    ) -> None:
        zoom = number("MaskBatches", "zoom", zoom, 1)
        super().__init__(images, targets, batch_size, augment, seed=seed)
        if augment and images.dtype != np.uint8 and images.shape[-1] != 1:
            raise ValueError(f"Expected uint8 images in 0…255 to augment. Received: dtype {images.dtype}")
        for target in targets.values() if isinstance(targets, dict) else [targets]:
            if target.shape not in (images.shape[:3], images.shape[:1]):
                raise ValueError(f"Expected masks {images.shape[:3]}, as the images. Received: {target.shape}")
        self.zoom = zoom

    def __getitem__(self, i: int) -> tuple[Array, Targets]:
        rows = self._permutation()[i * self.batch_size : (i + 1) * self.batch_size]
        rng = np.random.default_rng((self.seed, self.epoch, i))
        windows = [_window(self.images.shape[1:3], self.zoom, rng) for _ in rows] if self.augment else None
        images = _cut(self.images[rows], windows, smooth=True).astype("float32")
        if isinstance(self.targets, dict):
            return images, {k: _cut(t[rows], windows).astype("int32") for k, t in self.targets.items()}
        return images, _cut(self.targets[rows], windows).astype("int32")


def check_masks(images: Array, masks: Array, classes: int, ignore: int | None = IGNORE) -> None:
    """Checks that ``masks`` can teach a segmenter of ``classes`` classes.

    Args:
        images: ``(n, h, w, c)``.
        masks: integer or bool ``(n, h, w)``, labels in 0…classes-1 or ``ignore``.
        classes: int.
        ignore: int, the label that no loss and no metric counts; None: there is none.

    Raises:
        ValueError: masks of another shape or dtype, without a label, or with labels out of range; it names the first
            such mask.

    Example:
        >>> masks = np.array([[[0, 1], [255, 1]]])
        >>> training.check_masks(np.zeros((1, 2, 2, 3)), masks, classes=2)
        >>> training.check_masks(np.zeros((1, 2, 2, 3)), masks, classes=1)
        Traceback (most recent call last):
        ValueError: Expected labels in 0…0, or 255 to ignore. Received: [1], the first in mask 0
    """
    classes = integer("check_masks", "classes", classes, 1)
    ignore = integer("check_masks", "ignore", ignore, or_none=True)
    images, masks = np.asarray(images), np.asarray(masks)
    if len(images) == 0 or masks.shape != images.shape[:3]:
        raise ValueError(f"Expected one mask {images.shape[1:3]} per image. Received: {images.shape}, {masks.shape}")
    if masks.dtype.kind not in "biu":
        raise ValueError(f"Expected masks of integers or bool. Received: dtype {masks.dtype}")
    labels = np.unique(masks)
    counted = labels[labels != ignore]
    if len(counted) == 0:
        raise ValueError(f"Every pixel has the ignore label {ignore}: there is nothing to learn from.")
    wrong = counted[(counted < 0) | (counted >= classes)]
    if len(wrong):
        first = int(np.argmax(np.isin(masks, wrong).any((1, 2))))
        raise ValueError(
            f"Expected labels in 0…{classes - 1}, or {ignore} to ignore. Received: {wrong.tolist()}, the first in mask "
            f"{first}"
        )


Window = tuple[float, float, float, float, bool]


def _window(size: tuple[int, int], zoom: float, rng: np.random.Generator) -> Window:
    """``(left, top, right, bottom, flip)`` of a random part of an image of ``size`` (height, width)."""
    height, width = (side * rng.uniform(1 / zoom, 1) for side in size)
    top, left = rng.uniform(0, size[0] - height), rng.uniform(0, size[1] - width)
    return left, top, left + width, top + height, rng.random() < 0.5


def _cut(arrays: Array, windows: list[Window] | None, smooth: bool = False) -> Array:
    from PIL import Image

    if windows is None or arrays.ndim == 1:
        return arrays
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    height, width = arrays.shape[1:3]

    def cut(array: Array, window: Window) -> Array:
        image = Image.fromarray(array if smooth else array.astype("int32"))
        new = np.asarray(image.resize((width, height), method, window[:4]))
        return new[:, ::-1] if window[4] else new

    shape = arrays.shape
    arrays = arrays[..., 0] if smooth and shape[-1] == 1 else arrays
    return np.stack([cut(a, w) for a, w in zip(arrays, windows, strict=True)]).reshape(shape)
