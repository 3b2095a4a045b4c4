"""Random views of photographs, the augmentation of training on cached features."""

from collections.abc import Sequence

import numpy as np

from keras_moe.checks import integer
from keras_moe.types import Array

AREA, ASPECT, COLOUR = (0.35, 1.0), (3 / 4, 4 / 3), 0.3


def random_views(images: Array | Sequence[Array], size: int, seed: int, first: int = 0) -> Array:
    """One random view of each image: a crop of random area and aspect ratio, resized, perhaps mirrored, recoloured.

    The crop is that of Inception (Szegedy et al., CVPR 2015, section 6) with at least 35 % of the area; brightness,
    contrast and saturation change by up to 30 % each. The view of image i depends on ``seed`` and ``first + i`` alone,
    and shows the same part in the same colours whatever ``size`` is.

    Args:
        images: uint8 array ``(n, h, w, 3)``, or n arrays of different heights and widths.
        size: int, the sides of a view in pixels.
        seed: int.
        first: int, the number of the first image, where ``images`` are a part of more.

    Returns:
        uint8 array ``(n, size, size, 3)``.
    """
    size, seed = integer("random_views", "size", size, 1), integer("random_views", "seed", seed, 0)
    first = integer("random_views", "first", first, 0)
    views = np.empty((len(images), size, size, 3), "uint8")
    for i, image in enumerate(images):
        views[i] = random_view(image, size, np.random.default_rng((seed, first + i)))
    return views


def random_view(image: Array, size: int, rng: np.random.Generator) -> Array:
    """The view of one image, uint8 ``(h, w, 3)``, that ``rng`` draws, uint8 ``(size, size, 3)``."""
    from PIL import Image, ImageEnhance

    height, width = image.shape[:2]
    area = rng.uniform(*AREA) * height * width
    ratio = np.exp(rng.uniform(*np.log(ASPECT)))
    w, h = min(width, (area * ratio) ** 0.5), min(height, (area / ratio) ** 0.5)
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    view = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, (left, top, left + w, top + h))
    if rng.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        view = change(view).enhance(rng.uniform(1 - COLOUR, 1 + COLOUR))
    return np.asarray(view)
