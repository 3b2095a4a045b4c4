"""Whatever file a user has becomes the right pixels, or one clear error."""

import numpy as np
import pytest
from PIL import Image

from keras_moe.images import TooManyPixels, open_photographs, photographs, read_image

pytestmark = pytest.mark.once


def saved(path, pixels, mode=None, **options):
    """Writes an image of these pixels; returns the path."""
    image = Image.fromarray(np.asarray(pixels, "uint8")) if mode is None else Image.new(mode, (2, 2), pixels)
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("mode", "colour", "suffix", "expected"),
    [
        ("L", 100, "png", (100, 100, 100)),
        ("1", 1, "png", (255, 255, 255)),
        ("RGB", (10, 20, 30), "png", (10, 20, 30)),
        ("LA", (100, 51), "png", (224, 224, 224)),  # 0.2 * 100 + 0.8 * 255
        ("RGBA", (255, 0, 0, 51), "png", (255, 204, 204)),
        ("RGBA", (255, 0, 0, 0), "png", (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), "tiff", (255, 0, 0)),
        ("CMYK", (0, 0, 0, 255), "jpg", (0, 0, 0)),
        ("I;16", 65535, "png", (255, 255, 255)),
        ("I;16", 32768, "png", (128, 128, 128)),  # 127.502 rounds up
        ("I;16", 257, "png", (1, 1, 1)),
        ("I;16", 200, "png", (1, 1, 1)),  # dark, not an 8-bit image: 0.78 rounds up
        ("I", 32768, "tiff", (128, 128, 128)),
        ("I", 200, "tiff", (200, 200, 200)),
        ("F", 25.0, "tiff", (25, 25, 25)),
        ("F", 0.5, "tiff", (128, 128, 128)),  # a fraction of white
        ("F", 1.0, "tiff", (1, 1, 1)),
    ],
)
def test_modes(tmp_path, mode, colour, suffix, expected):
    found = read_image(saved(tmp_path / f"a.{suffix}", colour, mode), (2, 2, 3))
    assert found.dtype == np.float32
    assert found.tolist() == [[list(expected)] * 2] * 2


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (2, 2), 1)
    image.putpalette([9, 9, 9, 10, 20, 30])
    image.putpixel((0, 0), 0)
    for name in ("a.png", "a.gif"):
        image.save(tmp_path / name, transparency=0)
        found = read_image(tmp_path / name, (2, 2, 3))
        assert found[0, 0].tolist() == [255, 255, 255]
        assert found[1, 1].tolist() == found[0, 1].tolist() == [10, 20, 30]


def test_sixteen_bits_with_transparency(tmp_path):
    image = Image.fromarray(np.array([[7, 25700]], "uint16"))
    image.save(tmp_path / "a.png", transparency=7)
    assert read_image(tmp_path / "a.png", (1, 2, 1)).ravel().tolist() == [255, 100]


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, [[10, 20], [30, 40]]),
        (2, [[20, 10], [40, 30]]),
        (3, [[40, 30], [20, 10]]),
        (4, [[30, 40], [10, 20]]),
        (5, [[10, 30], [20, 40]]),
        (6, [[30, 10], [40, 20]]),
        (7, [[40, 20], [30, 10]]),
        (8, [[20, 40], [10, 30]]),
    ],
)
def test_orientation_of_the_camera(tmp_path, orientation, upright):
    exif = Image.Exif()
    exif[0x112] = orientation
    path = saved(tmp_path / "a.png", [[10, 20], [30, 40]], exif=exif)
    assert read_image(path, (2, 2, 1))[..., 0].tolist() == upright


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_tiny_and_thin_images(tmp_path, shape):
    path = saved(tmp_path / "a.png", np.full((*shape, 3), 7))
    assert read_image(path, (8, 8, 3)).tolist() == [[[7, 7, 7]] * 8] * 8


def test_twelve_megapixels(tmp_path):
    Image.new("RGB", (4000, 3000), (10, 20, 30)).save(tmp_path / "a.png", compress_level=1)
    found = read_image(tmp_path / "a.png", (32, 32, 3))
    assert found.shape == (32, 32, 3)
    assert np.all(found == (10, 20, 30))


def test_the_centred_square_is_taken(tmp_path):
    wide = np.tile(np.arange(6) * 10, (2, 1))
    assert read_image(saved(tmp_path / "a.png", wide), (2, 2, 1))[..., 0].tolist() == [[20, 30], [20, 30]]
    assert read_image(saved(tmp_path / "b.png", wide.T), (2, 2, 1))[..., 0].tolist() == [[20, 20], [30, 30]]


def test_one_channel_is_luma(tmp_path):
    found = read_image(saved(tmp_path / "a.png", (255, 0, 0), "RGB"), (2, 2, 1))
    assert found.tolist() == [[[76], [76]], [[76], [76]]]  # 0.299 * 255


def test_shrinking_averages(tmp_path):
    stripes = np.tile([0, 255], (64, 32))
    assert np.abs(read_image(saved(tmp_path / "a.png", stripes), (8, 8, 1))[2:-2, 2:-2] - 127.5).max() < 4


def test_photographs():
    assert list(open_photographs()) == ["china.jpg", "flower.jpg"]
    assert [photo.shape for photo in photographs((32, 32, 3))] == [(32, 32, 3)] * 2


def test_no_such_file(tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(FileNotFoundError, match="No such image file"):
            read_image(path, (2, 2, 3))


@pytest.mark.parametrize("content", [b"", b"hello, I am text\n", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_no_image(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png is (not an image|damaged)"):
        read_image(tmp_path / "a.png", (2, 2, 3))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_cut_off(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    data = saved(tmp_path / f"a.{suffix}", noise).read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="cut is damaged or cut off"):
        read_image(tmp_path / "cut", (2, 2, 3))


def test_pixels_that_are_not_finite(tmp_path):
    with pytest.raises(ValueError, match="NaN or infinite"):
        read_image(saved(tmp_path / "a.tiff", float("nan"), "F"), (2, 2, 3))


def test_decompression_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match="too large to open safely"):
        read_image(saved(tmp_path / "a.png", np.zeros((5, 5))), (2, 2, 3))
    path = saved(tmp_path / "b.png", np.full((4, 4), 9))  # up to twice the limit Pillow only warns
    with pytest.warns(Image.DecompressionBombWarning):
        assert np.all(read_image(path, (2, 2, 3)) == 9)


def test_pixels_are_counted_before_they_are_decoded(tmp_path):
    path = saved(tmp_path / "a.png", np.full((5, 6), 9))
    assert np.all(read_image(path, (2, 2, 3), max_pixels=30) == 9)
    path.write_bytes(path.read_bytes()[:60])  # what is left could not be decoded
    with pytest.raises(TooManyPixels, match=r"a\.png is too large to open safely: 6 x 5 pixels; at most 29 are taken"):
        read_image(path, (2, 2, 3), max_pixels=29)


def test_open_files_and_chosen_formats(tmp_path):
    path = saved(tmp_path / "a.png", np.full((5, 6), 9))
    with path.open("rb") as file:
        assert np.all(read_image(file, (2, 2, 3), formats=("PNG",)) == 9)
    with (
        path.open("rb") as file,
        pytest.raises(ValueError, match=r"The file is not an image that can be read \(JPEG, GIF\)"),
    ):
        read_image(file, (2, 2, 3), formats=("JPEG", "GIF"))
