"""``keras-moe upscale``."""

import contextlib
import io
import pathlib
import sys

from keras_moe.cli.shared import fail, model_name


def register(command):
    upscale = command("upscale", _upscale, "Enlarge an image with a super-resolution model.")
    upscale.add_argument("name", type=model_name)
    upscale.add_argument("image", metavar="IN")
    upscale.add_argument("out", metavar="OUT", type=pathlib.Path, help="its ending tells the format")
    upscale.add_argument("--map", metavar="PNG", type=pathlib.Path, help="write which branch each patch took")


def _upscale(arguments):
    from PIL import Image

    from keras_moe import zoo
    from keras_moe.superres import route_map

    card = zoo.card(arguments.name)
    if card.task != "super-resolution":
        return fail(f"{card.name} is a model for {card.task}; upscale needs one for super-resolution.", 2)
    targets = [path for path in (arguments.out, arguments.map) if path is not None]
    for path in targets:
        _check_target(path)
    image = _pixels(arguments.image)
    with contextlib.redirect_stdout(sys.stderr):  # a download shows its progress
        model = zoo.load(card.name)
    found = model.upscale_routed(image)
    _save(Image.fromarray(found.image), arguments.out)
    if arguments.map is not None:
        _save(route_map(found), arguments.map)
    (height, width), (high, wide) = image.shape[:2], found.image.shape[:2]
    print(f"{arguments.out}: {width} x {height} -> {wide} x {high}, {found.macs / 1e9:.2f} billion MACs")
    return 0


def _pixels(path):
    """uint8 pixels, alpha kept; 16 bits are refused, not clipped."""
    import numpy as np
    from PIL import Image, ImageOps

    from keras_moe.images import open_image

    converted = open_image(path)  # raises for what cannot be read
    with Image.open(path) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"{path}: expected 8 bits per channel. Received: a 16-bit or wider image, {image.mode}")
        if image.mode == "L":
            return np.asarray(ImageOps.exif_transpose(image))
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))
    return np.asarray(converted)


def _check_target(path):
    from PIL import Image

    if not path.parent.is_dir():
        raise FileNotFoundError(f"No such folder: {path.parent}")
    if path.suffix.lower() not in Image.registered_extensions():
        raise ValueError(f"{path}: expected the extension of an image format, as .png. Received: {path.suffix!r}")


def _save(picture, path):
    from PIL import Image

    from keras_moe.weights import write_bytes

    buffer = io.BytesIO()
    picture.save(buffer, Image.registered_extensions()[path.suffix.lower()])
    write_bytes(path, buffer.getvalue())
