"""``keras-moe upscale``."""

import argparse
import io
import os
import pathlib
import typing

from keras_moe.cli.shared import MODEL, Command, check_task, load_model, model_name

if typing.TYPE_CHECKING:
    import numpy as np
    from PIL import Image

_MODES = {(): "L", (3,): "RGB", (4,): "RGBA"}  # of pixels, by the axes behind height and width


def register(command: Command) -> None:
    upscale = command("upscale", _upscale, "Enlarge an image with a super-resolution model.")
    upscale.add_argument("name", type=model_name, help=MODEL)
    upscale.add_argument("image", metavar="IN")
    upscale.add_argument("out", metavar="OUT", type=pathlib.Path, help="an image file; its extension sets the format")
    upscale.add_argument("--map", metavar="PNG", type=pathlib.Path, help="write which branch each patch took")


def _upscale(arguments: argparse.Namespace) -> int:
    from PIL import Image

    from keras_moe import zoo
    from keras_moe.super_resolution import route_map

    card = zoo.card(arguments.name)
    check_task("upscale", card, "super-resolution")
    image, scale = _pixels(arguments.image), card.config["scale"]
    _check_targets(arguments)
    for path, mode in (arguments.out, _MODES[image.shape[2:]]), (arguments.map, "RGB"):
        if path is not None:
            _check_format(path, mode, (scale * image.shape[1], scale * image.shape[0]))
    model = load_model(arguments.name, card)
    result = model.upscale_routed(image)
    _save(Image.fromarray(result.image), arguments.out)
    if arguments.map is not None:
        _save(route_map(result), arguments.map)
    (height, width), (high, wide) = image.shape[:2], result.image.shape[:2]
    print(f"{arguments.out}: {width} x {height} -> {wide} x {high}, {result.macs / 1e9:.2f} billion MACs")
    return 0


def _pixels(path: str) -> "np.ndarray":
    """uint8 pixels, alpha kept; 16 bits are refused, not clipped."""
    import numpy as np
    from PIL import Image, ImageOps

    from keras_moe.images import open_image

    converted = open_image(path)  # raises for an unreadable file
    with Image.open(path) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"{path}: expected 8 bits per channel. Received: a 16-bit or wider image, {image.mode}")
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))
        if image.mode == "L":
            return np.asarray(ImageOps.exif_transpose(image))
    return np.asarray(converted)


def _check_targets(arguments: argparse.Namespace) -> None:
    """Refuses, before anything is computed, a file that cannot be written or that is another argument too."""
    from PIL import Image

    others = [pathlib.Path(arguments.image).resolve()]
    for path in (arguments.out, arguments.map):
        if path is None:
            continue
        if not path.parent.is_dir():
            raise FileNotFoundError(f"No such folder: {path.parent}. Expected a file in a folder that exists.")
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise PermissionError(f"{path}: expected a file in a folder that may be written to.")
        if path.suffix.lower() not in Image.registered_extensions():
            raise ValueError(f"{path}: expected the extension of an image format, say .png. Received: {path.suffix!r}")
        if path.resolve() in others:
            raise ValueError(f"{path}: IN, OUT and --map must be different files. Received this one twice.")
        others.append(path.resolve())


def _check_format(path: pathlib.Path, mode: str, size: tuple[int, int]) -> None:
    """Refuses a format that cannot hold a picture of ``mode`` and ``(width, height)``; it writes and reads blank ones.

    They are small in all but one side at a time, because formats limit the sides.
    """
    from PIL import Image

    (width, height), kind = size, Image.registered_extensions()[path.suffix.lower()]
    for trial in (width, 1), (1, height), (min(width, 256), min(height, 256)):
        buffer = io.BytesIO()
        try:
            Image.new(mode, trial).save(buffer, kind)
            with Image.open(buffer) as written:
                whole, opaque = written.size == trial, not written.has_transparency_data
        except Exception as error:  # Pillow's formats raise of any kind
            raise ValueError(_cannot(path, kind, mode, size, f" ({type(error).__name__}: {error})")) from error
        if not whole or (mode == "RGBA" and opaque):
            raise ValueError(_cannot(path, kind, mode, size))


def _cannot(path: pathlib.Path, kind: str, mode: str, size: tuple[int, int], why: str = "") -> str:
    return (
        f"{path}: {kind} cannot hold an image {mode} of {size[0]} x {size[1]} pixels{why}. "
        "Expected another format, such as .png."
    )


def _save(picture: "Image.Image", path: pathlib.Path) -> None:
    from PIL import Image

    from keras_moe.files import write_bytes

    buffer = io.BytesIO()
    picture.save(buffer, Image.registered_extensions()[path.suffix.lower()])
    write_bytes(path, buffer.getvalue())
