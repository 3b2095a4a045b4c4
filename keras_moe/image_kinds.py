"""Image files told from others: by the ending of their name, or by their first bytes."""

import functools
import os
import typing

_HEAD = 16  # bytes that are looked at
_BRANDS = {
    "AVIF": (b"avif", b"avis"),
    "HEIC": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"),
}
_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_ADVICE = {"HEIC": ", or pip install pillow-heif", "AVIF": ", or pip install --upgrade pillow", "JPEG XL": ""}
_SUFFIXES = (".heic", ".heif", ".avif", ".jxl")  # of images, whether they can be read here or not
_OTHER = ("BUFR", "GRIB", "HDF5", "MPEG")  # what Pillow knows by name and cannot draw


@functools.cache
def register_heic() -> None:
    """Lets Pillow read HEIC where the package pillow-heif is installed."""
    try:
        import pillow_heif
    except ImportError:
        return
    pillow_heif.register_heif_opener()


def is_image_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file claims to be an image: by the ending of its name or else by its first bytes."""
    from PIL import Image

    if os.path.splitext(path)[1].lower() in _image_suffixes():
        return True
    try:
        with open(path, "rb") as file:
            if kind_of(file):
                return True
        with Image.open(path) as image:
            return image.format in Image.OPEN and image.format not in _OTHER
    except Exception:  # whatever Pillow's parsers let out: not an image, or a damaged one under a name of no image
        return False


def kind_of(file: typing.BinaryIO) -> str:
    """``"HEIC"``, ``"AVIF"`` or ``"JPEG XL"`` by the first bytes of a file; empty for all others."""
    file.seek(0)
    head = file.read(_HEAD)
    if head.startswith(_JPEG_XL):
        return "JPEG XL"
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    return next((kind for kind, brands in _BRANDS.items() if brand in brands), "")


def unreadable(source: str | os.PathLike[str] | typing.BinaryIO, readable: tuple[str, ...] | None) -> str:
    """What is said of a file in which Pillow finds no image.

    Args:
        source: path, or an open file.
        readable: names of Pillow's formats, the only ones that are taken; None: all.
    """
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            kind = kind_of(file)
    else:
        kind = kind_of(source)
    if not kind:
        return f"is not an image that can be read ({', '.join(readable or ('PNG', 'JPEG', 'WebP', '…'))})"
    return f"is an image that cannot be read here, {kind}; convert it to JPEG{'' if readable else _ADVICE[kind]}"


@functools.cache
def _image_suffixes() -> frozenset[str]:
    from PIL import Image

    register_heic()
    known = Image.registered_extensions()
    Image.init()
    return frozenset(s for s, kind in known.items() if kind in Image.OPEN and kind not in _OTHER).union(_SUFFIXES)
