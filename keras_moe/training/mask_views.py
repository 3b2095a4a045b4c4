"""Random views of an image and its mask: parts of it, turned, in other colours, blurred or compressed."""

import dataclasses
import io
import math
import typing

import numpy as np

from keras_moe.checks import plain_numbers
from keras_moe.metrics import IGNORE
from keras_moe.types import Array

# What `recolor=1` means: radians of hue, and the logarithms of the largest factors.
_HUE, _SATURATION, _BRIGHTNESS, _CONTRAST, _GAMMA = 0.5, 0.7, 0.4, 0.4, 0.5
_BLUR, _QUALITY = (0.5, 2.0), (20, 90)
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


class Colors(typing.NamedTuple):
    """A change of colours; 0 and 1s change nothing."""

    hue: float = 0.0
    saturation: float = 1.0
    brightness: float = 1.0
    contrast: float = 1.0
    gamma: float = 1.0


class View(typing.NamedTuple):
    """A view of an image: a window (left, top, right, bottom) in pixels, and the changes to it.

    ``turns`` counts quarter turns to the left, ``blur`` is a radius in pixels, ``quality`` is JPEG's; 0: none.
    """

    window: tuple[float, float, float, float]
    flip: bool
    turns: int = 0
    colors: Colors | None = None
    blur: float = 0.0
    quality: int = 0

    def of_image(self, image: Array) -> Array:
        """The view of an image ``(h, w, c)``, resized to the size of the whole; black outside of it."""
        cut = _cut(image[..., 0] if image.shape[-1] == 1 else image, self, smooth=True, outside=0)
        return self._degraded(recolored(cut, self.colors)).reshape(image.shape)

    def of_mask(self, mask: Array) -> Array:
        """The view of a mask ``(h, w)``, by nearest label: int32, 255 outside of it."""
        return _cut(mask.astype("int32"), self, smooth=False, outside=IGNORE)

    def _degraded(self, image: Array) -> Array:
        from PIL import Image, ImageFilter

        if not (self.blur or self.quality):
            return image
        photo = Image.fromarray(image).filter(ImageFilter.GaussianBlur(self.blur))
        if self.quality:
            file = io.BytesIO()
            photo.save(file, "JPEG", quality=self.quality)
            photo = Image.open(file)
        return np.asarray(photo)


@dataclasses.dataclass(frozen=True)
class MaskViews:
    """The range of random views of images and their masks.

    Half of the views are mirrored. A view is a random window, resized to the size of the whole.

    Args:
        zoom, shrink: floats >= 1. Either side of the window is ``1 / zoom`` to ``shrink`` of the image's, drawn
            separately. Outside of the image a view is black and has the label 255.
        turn: bool, whether views are turned by 0 to 3 quarters; images must be square.
        recolor: float in [0, 1], how much hue, saturation, brightness, contrast and gamma change; images must be RGB.
            At 1, hue by up to 29 degrees, saturation by a factor of up to 2, brightness and contrast of 1.5.
        degrade: float in [0, 1], the probability that a view is blurred, and that of JPEG's artefacts.

    Example:
        >>> views = training.MaskViews(zoom=2, turn=True)
        >>> view = views.draw((8, 8), np.random.default_rng(0))
        >>> view.of_image(np.zeros((8, 8, 3), "uint8")).shape, view.of_mask(np.ones((8, 8))).dtype
        ((8, 8, 3), dtype('int32'))
    """

    zoom: float = 1.5
    shrink: float = 1.0
    turn: bool = False
    recolor: float = 0.0
    degrade: float = 0.0

    def __post_init__(self) -> None:
        share = {"least": 0, "most": 1}
        plain_numbers(self, zoom={"least": 1}, shrink={"least": 1}, recolor=share, degrade=share)

    def check(self, images: Array) -> None:
        """Raises ValueError for images ``(n, h, w, c)`` that these views cannot show.

        Example:
            >>> training.MaskViews(turn=True).check(np.zeros((1, 8, 6, 3), "uint8"))
            Traceback (most recent call last):
            ...
            ValueError: Expected square images to turn. Received: 8x6
        """
        height, width, channels = images.shape[1:]
        if images.dtype != np.uint8 and (channels != 1 or self.recolor or self.degrade):
            raise ValueError(f"Expected uint8 images in 0…255 to augment. Received: dtype {images.dtype}")
        if self.turn and height != width:
            raise ValueError(f"Expected square images to turn. Received: {height}x{width}")
        if self.recolor and channels != 3:
            raise ValueError(f"Expected RGB images to recolor. Received: {channels} channels")

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> View:
        """A random ``View`` of images of ``size`` (height, width).

        Example:
            >>> view = training.MaskViews(zoom=1).draw((8, 6), np.random.default_rng(0))
            >>> view.window  # left, top, right, bottom
            (0.0, 0.0, 6.0, 8.0)
        """
        height, width = (side * rng.uniform(1 / self.zoom, self.shrink) for side in size)
        top, left = (rng.uniform(min(0, room), max(0, room)) for room in (size[0] - height, size[1] - width))
        view = View((left, top, left + width, top + height), rng.random() < 0.5)
        if self.turn:
            view = view._replace(turns=int(rng.integers(4)))
        if self.recolor:
            view = view._replace(colors=self._colors(rng))
        if self.degrade:
            blurs, compresses = rng.random(2) < self.degrade
            blur, quality = float(rng.uniform(*_BLUR)), int(rng.integers(*_QUALITY))
            view = view._replace(blur=blur * bool(blurs), quality=quality * bool(compresses))
        return view

    def _colors(self, rng: np.random.Generator) -> Colors:
        hue, *logs = self.recolor * rng.uniform(-1, 1, 5) * (_HUE, _SATURATION, _BRIGHTNESS, _CONTRAST, _GAMMA)
        return Colors(float(hue), *map(float, np.exp(logs)))


def recolored(image: Array, colors: Colors | None) -> Array:
    """A uint8 RGB image ``(h, w, 3)`` in other colours.

    Gamma first, then contrast around the image's mean colour and brightness, then hue and saturation: a turn and a
    stretch of the chroma in YIQ. Greys stay grey.
    """
    if colors is None:
        return image
    x = ((np.arange(256) / 255) ** colors.gamma).astype("float32")[image]
    mean = x.mean((0, 1))
    x = ((x - mean) * colors.contrast + mean) * colors.brightness
    cos, sin = (colors.saturation * f(colors.hue) for f in (math.cos, math.sin))
    chroma = np.linalg.inv(_TO_YIQ) @ [[1, 0, 0], [0, cos, -sin], [0, sin, cos]] @ _TO_YIQ
    return np.asarray(np.rint((x @ chroma.T.astype("float32")).clip(0, 1) * 255), "uint8")


def _cut(array: Array, view: View, smooth: bool, outside: int) -> Array:
    from PIL import Image

    height, width = array.shape[:2]
    left, top, right, bottom = view.window
    margin = math.ceil(max(0, -left, -top, right - width, bottom - height))
    if margin:  # Pillow cuts windows inside of images alone
        sides = ((margin, margin), (margin, margin), (0, 0))[: array.ndim]
        array = np.pad(array, sides, constant_values=outside)
    window = (left + margin, top + margin, right + margin, bottom + margin)
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    view_array = np.asarray(Image.fromarray(array).resize((width, height), method, window))
    return np.rot90(view_array[:, ::-1] if view.flip else view_array, view.turns)
