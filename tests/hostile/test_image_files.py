"""Image files of strangers: none starts a program, and none takes more memory than its limit of pixels allows."""

import gzip
import io
import struct
import subprocess
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_moe import images, zoo
from keras_moe.datasets import read_labelled_files
from keras_moe.insights.folders import read_masked

pytestmark = pytest.mark.once


def encoded(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def png(width, height, *chunks, depth=1):
    """A grey PNG with the ``chunks``, pairs of kind and bytes."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in (header, *chunks)]
    return (
        b"\x89PNG\r\n\x1a\n" + b"".join(parts) + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    )


def zeros(megabytes):
    """zlib's stream of that many megabytes of zeros, a two-hundredth of it."""
    return zlib.compress(bytes(megabytes << 20), 1)


def gif(width, height):
    screen, frame = struct.pack("<HHBBB", width, height, 0, 0, 0), struct.pack("<HHHHB", 0, 0, width, height, 0)
    return b"GIF89a" + screen + b"," + frame + b"\x02\x02L\x01\x00;"


def icon(inner):
    """An .ico that says it holds a picture of 16 x 16 pixels, and holds ``inner``."""
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22) + inner


def tiff(width, height):
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
            (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 8)]  # fmt: skip
    table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + table + struct.pack("<I", 0)


BOMBS = {
    "a header of 400 megapixels": png(20_000, 20_000, (b"IDAT", b"")),
    "a pixel line of 2 billion": png(2**31 - 1, 1, (b"IDAT", b"")),
    "text of 10 MB": png(8, 8, (b"zTXt", b"Comment\0\0" + zeros(10)), (b"IDAT", zlib.compress(bytes(16)))),
    "a GIF of 4 gigapixels": gif(65_535, 65_535),
    "a TIFF of 10 gigapixels": tiff(100_000, 100_000),
    "an icon that holds 400 megapixels": icon(png(20_000, 20_000, (b"IDAT", b""))),
    "a compressed PNG": gzip.compress(encoded(Image.new("L", (8, 8)), "PNG")),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs(kind):
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"^The file is "):
        images.read_image(io.BytesIO(BOMBS[kind]), (8, 8, 3))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kilobytes, or bytes on a Mac"


def test_of_a_picture_with_100_mb_behind_it_the_picture_is_read():
    picture = png(8, 8, (b"IDAT", zeros(100)))
    assert len(picture) < 1_000_000
    assert np.all(images.read_image(io.BytesIO(picture), (8, 8, 1)) == 0)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_hundred_megapixels(tmp_path):
    """100 MB of pixels in 12 kB: taken where the user chose the file, refused where a limit says so."""
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "large.png"
    path.write_bytes(png(10_000, 10_000, (b"IDAT", zlib.compress(bytes(10_000 * 1251), 9))))
    assert np.all(images.read_image(path, (8, 8, 1)) == 0)
    with pytest.raises(images.TooManyPixels, match="10000 x 10000 pixels; at most 50,000,000 are taken"):
        images.read_image(path, (8, 8, 1), max_pixels=50_000_000)
    with pytest.raises(ValueError, match="too large to open safely: 10000 x 10000 pixels"):
        read_labelled_files(tmp_path)


def test_an_error_that_no_other_parser_raises():
    data = bytearray(encoded(Image.new("RGBA", (14, 11)), "DDS"))
    data[80:84] = struct.pack("<I", 1 << 13)  # flags of the pixel format; Pillow: NotImplementedError
    with pytest.raises(ValueError, match="The file is damaged or cut off: Unknown pixel format flags"):
        images.read_image(io.BytesIO(data), (8, 8, 3))


@pytest.fixture
def postscript(monkeypatch):
    def started(*arguments, **options):
        pytest.fail(f"a program was started: {arguments}")

    for name in ("Popen", "run", "check_call", "call"):
        monkeypatch.setattr(subprocess, name, started)
    return encoded(Image.new("L", (40, 40)), "EPS")


@pytest.mark.parametrize("name", ["a.eps", "a.png"])
def test_postscript_starts_no_program(name, postscript, tmp_path):
    for folder in ("images", "masks", "a"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(postscript)
    with pytest.raises(ValueError, match="is not an image that can be read"):
        images.read_image(tmp_path / "a" / name, (8, 8, 3))
    with pytest.raises(ValueError, match=r"3 of 3 images .* cannot be read"):
        read_labelled_files(tmp_path)
    Image.new("L", (40, 40)).save(tmp_path / "images" / name, "PNG")
    (tmp_path / "masks" / name).rename(tmp_path / "masks" / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is not a mask that can be read"):
        read_masked(tmp_path, zoo.card("test_segmentation", check_model=False))


@pytest.mark.parametrize(
    "mask", [png(20_000, 20_000, (b"IDAT", b"")), png(8, 8, (b"IDAT", b"x")), b"", png(8, 8)[:-20]]
)
def test_damaged_masks_are_named(mask, tmp_path):
    for folder, data in (("images", encoded(Image.new("L", (8, 8)), "PNG")), ("masks", mask)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.png is not a mask that can be read"):
        read_masked(tmp_path, zoo.card("test_segmentation", check_model=False))
