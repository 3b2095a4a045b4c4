"""Images, and folders and tables of them: what strangers send, and what must hold."""

import io
import pathlib

import numpy as np
from damage import TREES, damaged, planted, refusal
from PIL import Image

from keras_moe import zoo
from keras_moe.datasets import read_labelled_files
from keras_moe.datasets.files.listing import list_files
from keras_moe.export import IntegrityError
from keras_moe.images import read_image
from keras_moe.insights.folders import read_labelled, read_masked
from keras_moe.zoo.calibration import from_sheet

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (11, 14, 4), dtype="uint8"))
COLOURS, PALETTE = NOISE.convert("RGB"), NOISE.convert("RGB").quantize(8)
TURNED = Image.Exif()
TURNED[0x0112] = 6


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PICTURES = (
    encoded(COLOURS, "PNG"),
    encoded(NOISE, "PNG"),
    encoded(NOISE.convert("1"), "PNG"),
    encoded(PALETTE, "PNG", transparency=3),
    encoded(Image.fromarray(np.asarray(NOISE)[..., 0].astype("uint16") * 257), "PNG"),
    encoded(COLOURS, "JPEG", exif=TURNED),
    encoded(COLOURS.convert("CMYK"), "JPEG"),
    encoded(COLOURS, "JPEG", progressive=True),
    encoded(PALETTE, "GIF", save_all=True, append_images=[COLOURS.quantize(4)]),
    encoded(COLOURS, "TIFF", compression="tiff_lzw"),
    encoded(COLOURS, "TIFF", compression="jpeg"),
    encoded(COLOURS.convert("F"), "TIFF"),
    *(encoded(NOISE, kind) for kind in ("WEBP", "ICO", "TGA", "SGI", "DDS")),
    *(encoded(COLOURS, kind) for kind in ("BMP", "AVIF", "PPM", "JPEG2000", "PCX", "PDF", "EPS")),
)
KINDS = {
    "picture": PICTURES[0],
    "grey": PICTURES[2],
    "wide": PICTURES[4],
    "damaged": PICTURES[5][:-20],
    "empty": b"",
    "text": b"path,label",
}
TABLES = (
    b"path,label,split\n1.png,a,train\n1.png,b,\n",
    b"path;label\n1.png;\xc3\xa4\n",
    "path,label\n1.png,a\n".encode("utf-16"),
)
CARD = zoo.card("test_hydranet", check_model=False)


def image(data):
    with refusal(ValueError):
        pixels = read_image(io.BytesIO(data), (4, 6, 3), max_pixels=1 << 20)
        assert pixels.shape == (4, 6, 3)
        assert pixels.dtype == "float32"
        assert pixels.min() >= 0
        assert pixels.max() <= 255


def sheet(data):
    with refusal(IntegrityError):
        assert from_sheet(data, (8, 8, 3), "a sheet").shape[1:] == (8, 8, 3)


def folder(tree):
    with planted(tree, KINDS) as root:
        with refusal(ValueError, FileNotFoundError):
            files = read_labelled_files(root, most_unreadable=1.0)
            assert len(files.paths) == len(files.labels) == len(files.parts)
        for read in (read_labelled, read_masked):
            with refusal(ValueError, FileNotFoundError):
                read(pathlib.Path(root), CARD)


def table(data):
    with planted([([], "1.png", "picture")], KINDS) as root:
        path = pathlib.Path(root, "table.csv")
        path.write_bytes(data)
        with refusal(ValueError):
            list_files(path)


PARSERS = {
    "image": (damaged(*PICTURES), image),
    "sheet": (damaged(encoded(Image.new("RGB", (16, 8), "red"), "WEBP", lossless=True)), sheet),
    "folder": (TREES, folder),
    "table": (damaged(*TABLES), table),
}
