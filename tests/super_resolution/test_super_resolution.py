"""Whole images: sizes, seams, kinds of image, bad input, the route map, quality, and the command ``upscale``."""

import os

import keras
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import zoom

from keras_moe import zoo
from keras_moe.cli import main
from keras_moe.metrics import luma, psnr, ssim
from keras_moe.models import ClassSR, SuperResolutionNetwork
from keras_moe.models.super_resolution_branches import start_as_interpolation
from keras_moe.super_resolution import route_map
from keras_moe.super_resolution.tiles import cut

RNG = np.random.default_rng(0)
SETTINGS = {"patch": 12, "overlap": 4, "batch_size": 16}


class Nearest:
    """Stands in for a network, so that only the cutting and blending is tested: every pixel twice, by brightness."""

    scale = 2

    def at_size(self, height, width):
        return self

    def predict_on_batch(self, patches):
        bright = (patches.mean((1, 2, 3)) > 128).astype(int)
        return {"prediction": patches.repeat(2, 1).repeat(2, 2), "routing_weights": np.eye(2)[bright]}

    def macs_of_patch(self, height, width):
        return {"class_module": 1, "branches": [10, 100]}


def upscaled(image, **settings):
    from keras_moe.super_resolution import upscale_routed

    return upscale_routed(Nearest(), image, **{**SETTINGS, **settings}, verbose=False)


@pytest.fixture(scope="module")
def interpolating():
    """A network whose output is smooth and known: linear interpolation."""
    keras.utils.set_random_seed(0)
    model = SuperResolutionNetwork((12, 12, 3), filters=3, scale=2)
    start_as_interpolation(model.get_layer("branch"))
    return model


SIZES = [(1, 1), (1, 40), (2, 3), (3, 2), (5, 7), (7, 100), (8, 8), (9, 11), (11, 12), (12, 12), (13, 12), (16, 17)]
SIZES += [(20, 19), (21, 37), (24, 24), (25, 8), (31, 33), (40, 1), (64, 9), (97, 53)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_pixel_of_any_size_arrives(size):
    image = RNG.integers(0, 256, (*size, 3)).astype("uint8")
    np.testing.assert_array_equal(upscaled(image).image, image.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("shape", [(9, 30), (9, 30, 1), (9, 30, 3), (9, 30, 4)], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_kinds_of_image(shape, dtype):
    image = RNG.integers(0, 256, shape).astype(dtype)
    image[..., -1] = 200
    y = upscaled(image).image
    assert y.dtype == dtype
    assert y.shape == (18, 60, *shape[2:])
    colours = slice(None) if shape[2:] != (4,) else slice(3)
    expected = image.repeat(2, 0).repeat(2, 1)
    if image.ndim == 2:
        np.testing.assert_allclose(y, expected, atol=1e-3)
    else:
        np.testing.assert_allclose(y[..., colours], expected[..., colours], atol=1e-3)
    if shape[2:] == (4,):
        assert (y[..., 3] == 200).all()


@pytest.mark.parametrize(
    ("image", "match"),
    [
        (np.zeros((0, 5, 3), "uint8"), "not empty"),
        (np.zeros((1, 5, 5, 3), "uint8"), "one image"),
        (np.zeros((5, 5, 2), "uint8"), "one image"),
        (np.zeros((5, 5, 3), "uint16"), "divide 16-bit values by 257"),
        (np.full((5, 5, 3), np.nan, "float32"), "no NaN"),
        (np.full((5, 5, 3), 300.0), r"floats in \[0, 255\]"),
    ],
)
def test_bad_images(image, match):
    with pytest.raises(ValueError, match=match):
        upscaled(image)


def test_numbers_in_0_1_are_said_to_be_black():
    with pytest.warns(UserWarning, match=r"upscale: expected pixels in \[0, 255\]"):
        upscaled(np.full((9, 9, 3), 0.5))
    upscaled(np.ones((9, 9, 3)))  # black pixels, whole numbers


@pytest.mark.parametrize("wrong", [{"patch": 7}, {"overlap": 6}, {"overlap": -1}, {"batch_size": 0}, {"patch": 9.0}])
def test_bad_settings(wrong):
    with pytest.raises(ValueError, match=r"upscale: `[a-z_]+` must be"):
        upscaled(np.zeros((5, 5, 3), "uint8"), **wrong)


@pytest.mark.parametrize(
    ("length", "patch", "overlap"), [(1, 9, 4), (40, 12, 4), (41, 12, 4), (1000, 64, 4), (50, 9, 0)]
)
def test_cuts_cover_and_their_ramps_sum_to_one(length, patch, overlap):
    made = cut(length, patch, overlap)
    assert made.length == length
    ends = [start + made.size for start in made.starts]
    assert all(end - start >= overlap for end, start in zip(ends[:-1], made.starts[1:], strict=True))
    assert all(end <= start for end, start in zip(ends[:-2], made.starts[2:], strict=True))
    total = np.zeros(3 * length)
    for start, ramp in zip(made.starts, made.ramps(3), strict=True):
        total[3 * start : 3 * (start + made.size)] += ramp
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_no_seam_on_a_gradient(interpolating):
    y, x = np.mgrid[0:44, 0:56].astype("float32")
    image = np.stack([60 + 2 * x, 60 + 2 * y, 40 + x + y], -1)
    whole = np.asarray(interpolating.at_size(44, 56).predict_on_batch(image[None])["prediction"])[0]

    def seam(overlap):
        tiled = interpolating.upscale(image, patch=20, overlap=overlap, batch_size=16, verbose=False)
        return np.abs(tiled - whole).max()

    assert seam(4) < 4  # of 255
    assert seam(8) < 2.5
    assert seam(0) > 5 * seam(4)


def test_route_macs_and_map():
    image = np.zeros((12, 40, 3), "uint8")
    image[:, 20:] = 255
    found = upscaled(image)
    assert found.route.shape == (len(found.rows.starts), len(found.columns.starts))
    assert found.route[0, 0] == 0
    assert found.route[0, -1] == 1
    assert found.macs == found.route.size + np.where(found.route == 0, 10, 100).sum()
    picture = np.asarray(route_map(found))
    assert picture.shape == (24, 80, 3)
    np.testing.assert_allclose(picture[5, 5], np.array([46, 160, 67]) * 0.35, atol=1)
    np.testing.assert_allclose(picture[5, -5], 255 * 0.65 + np.array([230, 170, 30]) * 0.35, atol=1)


@pytest.mark.parametrize(("height", "margin"), [(10, 0), (5, 2)])
def test_whole_image_by_the_branches_of_its_route(height, margin):
    keras.utils.set_random_seed(0)
    model = ClassSR((12, 12, 3), filters=(3, 6), scale=2, class_filters=4)
    image = RNG.integers(0, 256, (height, 10, 3)).astype("uint8")
    found = model.upscale_routed(image, patch=14, overlap=4, batch_size=16, verbose=False)
    assert found.margins == (margin, 0)  # only what a tiny image lacks of 8 pixels
    branch = model.bank.experts[int(found.route[0, 0])]
    padded = np.pad(image, ((margin, margin), (0, 0), (0, 0)), mode="reflect")[None].astype("float32") / 255
    enlarged = 255 * keras.ops.convert_to_numpy(branch(padded, training=False))[0]
    expected = enlarged[2 * margin : 2 * (margin + height)]
    np.testing.assert_allclose(found.image, np.clip(expected, 0, 255), atol=0.51)


def test_quality_by_hand():
    a, b = np.full((20, 20), 100.0), np.full((20, 20), 110.0)
    assert psnr(a, b) == pytest.approx(10 * np.log10(255**2 / 100))
    assert psnr(a, a) == float("inf")
    b[:2] = 0
    assert psnr(a, b, border=2) == pytest.approx(10 * np.log10(255**2 / 100))
    assert ssim(a, a) == pytest.approx(1)
    # Of flat images only the means count.
    c1 = (0.01 * 255) ** 2
    assert ssim(a, a + 10) == pytest.approx((2 * 100 * 110 + c1) / (100**2 + 110**2 + c1))
    np.testing.assert_allclose(luma([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]]), [[16, 235, 81.481]], atol=1e-3)
    with pytest.raises(ValueError, match="one shape"):
        psnr(a, b[1:])


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    smooth = zoom(RNG.random((5, 6, 3)) * 255, (4, 4, 1), order=1)
    Image.fromarray(smooth.clip(0, 255).astype("uint8")).save(path)
    return path


@pytest.mark.once
def test_command(photo, tmp_path, capsys):
    out, route = tmp_path / "out.png", tmp_path / "route.png"
    assert main(["upscale", "test_classsr", str(photo), str(out), "--map", str(route)]) == 0
    for path in (out, route):
        with Image.open(path) as image:
            assert image.size == (48, 40)
    assert "24 x 20 -> 48 x 40" in capsys.readouterr().out
    Image.new("L", (8, 8), 7).save(tmp_path / "clear.png", transparency=7)
    assert main(["upscale", "test_classsr", str(tmp_path / "clear.png"), str(out)]) == 0
    with Image.open(out) as image:
        assert (image.mode, image.getpixel((8, 8))[3]) == ("RGBA", 0)


def test_command_refuses(photo, tmp_path, capsys, monkeypatch):
    def refused(name, source, target, code):
        assert main(["upscale", name, str(source), str(target)]) == code
        return capsys.readouterr().err

    clear = tmp_path / "clear.png"
    Image.new("RGBA", (9, 9)).save(clear)
    (tmp_path / "folder.png").mkdir()
    monkeypatch.setattr(zoo, "load", lambda name: pytest.fail("refused before the model is loaded"))
    assert "super-resolution" in refused("test_hydranet", photo, tmp_path / "a.png", 2)
    assert "No such image file" in refused("test_classsr", tmp_path / "none.png", tmp_path / "a.png", 1)
    assert "No such folder" in refused("test_classsr", photo, tmp_path / "none" / "a.png", 1)
    assert "extension" in refused("test_classsr", photo, tmp_path / "a.xyz", 1)
    assert "different files" in refused("test_classsr", photo, photo, 1)
    assert "expected a file" in refused("test_classsr", photo, (tmp_path / "folder.png"), 1)
    assert "SUN cannot hold" in refused("test_classsr", photo, tmp_path / "a.ras", 1)
    assert "ICO cannot hold an image RGB of 48 x 40" in refused("test_classsr", photo, tmp_path / "a.ico", 1)
    for kind in ("jpg", "bmp", "ppm"):
        assert "cannot hold an image RGBA" in refused("test_classsr", clear, tmp_path / f"a.{kind}", 1)
    wide = tmp_path / "wide.png"
    Image.fromarray(np.zeros((9, 9), "uint16")).save(wide)
    assert "16-bit" in refused("test_classsr", wide, tmp_path / "a.png", 1)
    assert sorted(os.listdir(tmp_path)) == ["clear.png", "folder.png", "wide.png"]
    assert zoo.card("test_classsr").task == "super-resolution"
