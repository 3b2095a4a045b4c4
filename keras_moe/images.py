"""From an image file to the array a model takes."""

import collections.abc
import os
import pathlib
import struct
import typing
import zlib

import numpy as np

from keras_moe.checks import integer
from keras_moe.image_kinds import register_heic, unreadable

if typing.TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

PathOrFile: typing.TypeAlias = str | os.PathLike[str] | typing.BinaryIO

# All that Pillow's forty parsers let out on a damaged header, pixel stream or EXIF block.
DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, AttributeError,
    AssertionError, EOFError, MemoryError, struct.error, zlib.error,
)  # fmt: skip

_BY_PROGRAMS = ("EPS",)  # Pillow starts Ghostscript to draw it: a program, on a file of a stranger perhaps


class TooManyPixels(ValueError):
    """An image that is too large to be decoded.

    Example:
        >>> from PIL import Image
        >>> Image.new("1", (9, 7)).save("large.png")
        >>> images.read_image("large.png", (8, 8, 3), max_pixels=50)
        Traceback (most recent call last):
        ...
        keras_moe.images.TooManyPixels: large.png is too large to open safely: 9 x 7 pixels; at most 50 are taken
    """


def read_image(
    path: PathOrFile,
    input_shape: collections.abc.Sequence[int],
    max_pixels: int | None = None,
    formats: tuple[str, ...] | None = None,
) -> np.ndarray:
    """Reads an image file as a model's input.

    Grey, palette, RGBA and 16-bit images become RGB (or grey, where the model takes one channel), transparency over
    white; the camera's orientation is applied; the centred square is resized with antialiasing.

    Args:
        path: an image file that Pillow reads, of any size from 1x1 pixel; or one that is open, binary. Of an animation
            the first picture is taken.
        input_shape: ``(height, width, channels)`` of the model, with 1 or 3 channels.
        max_pixels: int, refused above it by the size in the header, before anything is decoded. None: Pillow's limit.
        formats: names of Pillow's, such as ``("JPEG", "PNG")``, for files of strangers. None: all that it reads itself,
            and HEIC with the package pillow-heif; not EPS, for which it would start a program.

    Returns:
        float32 array ``(height, width, channels)`` in [0, 255].

    Raises:
        FileNotFoundError: there is no such file.
        TooManyPixels: it is too large to be opened safely, a ValueError, too.
        ValueError: it is not an image, or is damaged.

    Example:
        >>> from PIL import Image
        >>> Image.new("RGB", (30, 20), (255, 0, 0)).save("red.png")
        >>> image = images.read_image("red.png", (8, 8, 3))
        >>> image.shape, image[0, 0]
        ((8, 8, 3), array([255.,   0.,   0.], dtype=float32))
    """
    return to_input(open_image(path, max_pixels=max_pixels, formats=formats), input_shape)


def open_image(
    path: PathOrFile,
    least: int | None = None,
    max_pixels: int | None = None,
    formats: tuple[str, ...] | None = None,
) -> "PillowImage":
    """The upright Pillow image, RGB. Raises as ``read_image``.

    Args:
        path, max_pixels, formats: as for ``read_image``.
        least: int, pixels; a larger JPEG is decoded at a fraction of its size, sides no shorter than that, which takes
            a fraction of the time and memory. None: at its own size.

    Example:
        >>> from PIL import Image
        >>> Image.new("L", (30, 20)).save("black.png")
        >>> images.open_image("black.png").mode
        'RGB'
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path, name = _named(path)
    if formats is None:
        register_heic()
    try:
        with Image.open(path, formats=formats) as image:
            if formats is None and image.format in _BY_PROGRAMS:
                raise UnidentifiedImageError
            if max_pixels is not None and image.width * image.height > max_pixels:
                raise TooManyPixels(
                    f"{name} is too large to open safely: {image.width} x {image.height} pixels; at most "
                    f"{max_pixels:,} are taken"
                )
            if least is not None:
                image.draft(None, (least, least))
            return _rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} {unreadable(path, formats)}.") from error
    except Image.DecompressionBombError as error:
        raise TooManyPixels(f"{name} is too large to open safely: {error}") from error
    except TooManyPixels:
        raise
    except DAMAGE as error:
        raise ValueError(f"{name} is damaged or cut off: {error}") from error


def _named(source: PathOrFile) -> tuple[pathlib.Path | typing.BinaryIO, str]:
    """The argument for Pillow, and the name for errors."""
    if not isinstance(source, (str, os.PathLike)):
        return source, "The file"
    path = pathlib.Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"No such image file: {path}")
    return path, str(path)


def to_input(image: "PillowImage", input_shape: collections.abc.Sequence[int]) -> np.ndarray:
    """A Pillow image as float32 ``(height, width, channels)``: centred square, resized.

    Example:
        >>> from PIL import Image
        >>> images.to_input(Image.new("L", (30, 20), 7), (2, 2, 1))[..., 0]
        array([[7., 7.],
               [7., 7.]], dtype=float32)
    """
    from PIL import Image, ImageOps

    height, width, channels = input_shape
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    if channels == 1:
        return np.asarray(fitted.convert("L"), "float32")[..., None]
    return np.asarray(fitted, "float32")


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """The whole images, each resized as ``read_image`` does it.

    Args:
        images: uint8 ``(n, height, width, 3)``.
        size: int, the new height and width.

    Returns:
        uint8 ``(n, size, size, 3)``.

    Raises:
        ValueError: a ``size`` that is no int >= 1.

    Example:
        >>> images.resized(np.zeros((2, 8, 8, 3), "uint8"), 4).shape
        (2, 4, 4, 3)
    """
    from PIL import Image

    size = integer("resized", "size", size, 1)
    shape = (size, size)
    return np.stack([np.asarray(Image.fromarray(image).resize(shape, Image.Resampling.BICUBIC)) for image in images])


def centred(images: collections.abc.Iterable[np.ndarray], size: int) -> np.ndarray:
    """The centred square of each image, resized as ``read_image`` does it.

    Args:
        images: uint8 arrays ``(height, width, 3)``, one or more, of any sizes.
        size: int, the new height and width.

    Returns:
        uint8 ``(n, size, size, 3)``.

    Example:
        >>> images.centred([np.zeros((8, 9, 3), "uint8"), np.zeros((5, 4, 3), "uint8")], 4).shape
        (2, 4, 4, 3)
    """
    from PIL import Image

    return np.stack([to_input(Image.fromarray(image), (size, size, 3)).astype("uint8") for image in images])


def with_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """RGB images, uint8 ``(n, h, w, 3)``, as a model of 1 or 3 ``channels`` takes them: grey by luma, or as they are.

    Example:
        >>> images.with_channels(np.full((1, 1, 1, 3), (255, 0, 0), "uint8"), 1).ravel()
        array([76], dtype=uint8)
    """
    if channels != 1:
        return images
    luma = images.astype("uint32") @ np.array([19595, 38470, 7471], "uint32") + 0x8000  # Pillow's, of ITU-R 601
    grey: np.ndarray = (luma >> 16).astype("uint8")[..., None]
    return grey


def photographs(input_shape: collections.abc.Sequence[int]) -> list[np.ndarray]:
    """scikit-learn's two real photographs as model inputs: list of float32 ``(height, width, channels)``.

    Example:
        >>> [photo.shape for photo in images.photographs((32, 32, 3))]
        [(32, 32, 3), (32, 32, 3)]
    """
    return [to_input(image, input_shape) for image in open_photographs().values()]


def crops(input_shape: collections.abc.Sequence[int], n: int, seed: int = 0) -> np.ndarray:
    """Random square crops of those photographs as model inputs.

    Args:
        input_shape: ``(height, width, channels)``.
        n: int >= 1, how many.
        seed: int >= 0; the same seed gives the same crops.

    Returns:
        float32 ``(n, height, width, channels)`` in [0, 255].

    Raises:
        ValueError: ``n`` or ``seed`` out of range.

    Example:
        >>> images.crops((16, 16, 3), n=4).shape
        (4, 16, 16, 3)
    """
    n, seed = integer("crops", "n", n, 1), integer("crops", "seed", seed, 0)
    rng, sources = np.random.default_rng(seed), list(open_photographs().values())
    inputs = []
    for i in range(n):
        image = sources[i % len(sources)]
        side = int(rng.integers(64, min(image.size)))
        left, top = (int(rng.integers(0, size - side + 1)) for size in image.size)
        inputs.append(to_input(image.crop((left, top, left + side, top + side)), input_shape))
    return np.stack(inputs)


def open_photographs() -> "dict[str, PillowImage]":
    """Name -> Pillow image of the two photographs that scikit-learn ships.

    Example:
        >>> {name: photo.size for name, photo in images.open_photographs().items()}
        {'china.jpg': (640, 427), 'flower.jpg': (640, 427)}
    """
    from PIL import Image
    from sklearn.datasets import load_sample_images

    samples = load_sample_images()
    names = [pathlib.Path(name).name for name in samples.filenames]
    return {name: Image.fromarray(image) for name, image in zip(names, samples.images, strict=True)}


def _rgb(image: "PillowImage") -> "PillowImage":
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, "float64")
        is_clear = values == image.info["transparency"] if "transparency" in image.info else None
        grey = _from_wide(values, sixteen_bit=image.mode.startswith("I;16"))
        if is_clear is not None:
            grey.paste("white", mask=Image.fromarray(is_clear))
        return grey
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _from_wide(values: np.ndarray, sixteen_bit: bool) -> "PillowImage":
    # 16-bit (and wider) grey: Pillow's own conversion to 8 bits clips instead of scaling.
    from PIL import Image

    if not np.all(np.isfinite(values)):
        raise ValueError("pixels that are NaN or infinite")
    values /= _white(values, sixteen_bit)  # in place: of 50 megapixels every copy takes 400 MB
    values.clip(0, 1, out=values)
    values *= 255
    return Image.fromarray(np.rint(values, out=values).astype("uint8")).convert("RGB")


def _white(values: np.ndarray, sixteen_bit: bool) -> float:
    """The number that is white: among 16 bits or more, among 8, or among fractions."""
    most = float(values.max(initial=0))
    if sixteen_bit or most > 255:
        return max(65535.0, most)
    return 1.0 if most <= 1 and np.any(values % 1) else 255.0
