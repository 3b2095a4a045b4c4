"""Random views of photographs: what is trained on cached features is augmented before the features are computed."""

import numpy as np

from keras_moe.checks import integer
from keras_moe.types import Array

AREA, ASPECT, COLOUR = (0.35, 1.0), (3 / 4, 4 / 3), 0.3


def random_views(images: Array, size: int, seed: int) -> Array:
    """One random view of each image: a crop of random area and aspect ratio, resized, perhaps mirrored, recoloured.

    The crop is that of Inception (Szegedy et al., CVPR 2015, section 6) with at least 35 % of the area; brightness,
    contrast and saturation change by up to 30 % each. The view of image i depends on ``seed`` and i alone, and shows
    the same part in the same colours whatever ``size`` is.

    Args:
        images: uint8 array ``(n, h, w, 3)``.
        size: int, the sides of a view in pixels.
        seed: int.

    Returns:
        uint8 array ``(n, size, size, 3)``.
    """
    size, seed = integer("random_views", "size", size, 1), integer("random_views", "seed", seed, 0)
    views = np.empty((len(images), size, size, 3), "uint8")
    for i, image in enumerate(images):
        views[i] = _view(image, size, np.random.default_rng((seed, i)))
    return views


def _view(image: Array, size: int, rng: np.random.Generator) -> Array:
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
