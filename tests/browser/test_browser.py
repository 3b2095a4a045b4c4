"""The web page of examples/browser in headless Chromium: it predicts as LiteRTModel does, and asks localhost alone."""

import pathlib
import urllib.parse

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

pytest.importorskip("playwright", reason="needs the extra `browser`")
pytest.importorskip("ai_edge_litert", reason="needs the extra `litert`")

from page import bars, canvas, complains, drop, opened, settled
from playwright import sync_api

from keras_moe import zoo
from keras_moe.export import LiteRTModel, litert
from keras_moe.images import crops, read_image

pytestmark = pytest.mark.browser
ZOO = pathlib.Path(__file__).parents[2] / "zoo"
CHINA = next(name for name in load_sample_images().filenames if name.endswith("china.jpg"))
CROPS = crops((32, 32, 3), 6)
CLOSE = 0.02  # equal where this was written; another CPU may round int8 activations otherwise


@pytest.fixture(scope="module")
def leaving_early(tmp_path_factory):
    """A float file of the single-gated mixture whose base predicts alone where it is fairly sure."""
    path = tmp_path_factory.mktemp("export") / "early.tflite"
    model = zoo.load("single_gated_cifar100")
    model.threshold = 0.5
    litert(model, path, images=CROPS, card=zoo.card("single_gated_cifar100"))
    left = ~LiteRTModel(path).route(CROPS).any(axis=1)
    assert 0 < left.mean() < 1, "some of these crops must leave early, some must not"
    return path


@pytest.fixture(scope="module")
def files(leaving_early):
    published = [ZOO / name / "routed_int8.tflite" for name in ("hydranet_cifar100", "single_gated_cifar100")]
    return [*published, leaving_early, ZOO / "classsr_fsrcnn_x4" / "routed_float16.tflite"]


@pytest.fixture(scope="module")
def browser(chromium):
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """An empty tab; at the end, every request that it made must have gone to localhost."""
    page, asked = browser.new_page(), []
    page.context.on("request", lambda request: asked.append(urllib.parse.urlsplit(request.url)))
    yield page
    assert {url.hostname for url in asked if url.scheme in ("http", "https", "ws", "wss")} == {"localhost"}
    page.close()


@pytest.mark.parametrize("index", range(3), ids=["hydranet", "single_gated", "leaving_early"])
def test_same_pixels_same_answer_as_python(page, address, files, index, tmp_path):
    opened(page, address, index)
    model = LiteRTModel(files[index])
    for pixels in CROPS:
        drop(page, ("pixels.png", as_png(pixels, tmp_path / "pixels.png")))
        settled(page)
        (predictions,), (route,) = model.predict_routed(pixels[None])
        labels, shares = bars(page, "predictions")
        np.testing.assert_allclose(shares, np.sort(predictions)[::-1][:5], atol=CLOSE)
        assert predictions[model.labels.index(labels[0])] >= predictions.max() - CLOSE
        weights = bars(page, "experts")[1]
        np.testing.assert_allclose(weights, route, atol=CLOSE)
        np.testing.assert_array_equal(weights != 0, route != 0)
        assert ("Early exit" in page.inner_text("#ran")) == (not route.any())
    print(page.locator("#model option:checked").inner_text(), page.inner_text("#latency"))


def test_a_photograph(page, address, files, tmp_path):
    opened(page, address)
    drop(page, ("china.jpg", pathlib.Path(CHINA).read_bytes()))
    settled(page)
    (expected,), (route,) = LiteRTModel(files[0]).predict_routed(read_image(CHINA, (32, 32, 3))[None])
    labels, shares = bars(page, "predictions")
    assert labels[0] == zoo.card("hydranet_cifar100").classes[expected.argmax()]
    assert shares[0] == pytest.approx(expected.max(), abs=CLOSE), "resized as Pillow does"
    np.testing.assert_allclose(bars(page, "experts")[1], route, atol=CLOSE)
    assert float(page.locator("#latency").get_attribute("data-milliseconds")) > 0
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    print(tmp_path / "page.png")


def test_enlarging(page, address, files, tmp_path):
    opened(page, address, 3)
    drop(page, ("patch.png", as_png(CROPS[0], tmp_path / "patch.png")))  # one patch: the file's own prediction
    settled(page)
    (expected,), (route,) = LiteRTModel(files[3]).predict_routed(CROPS[:1].astype("uint8"))
    assert np.abs(canvas(page, "seen")[..., :3] - np.rint(np.clip(expected, 0, 255))).max() <= 1
    np.testing.assert_array_equal(bars(page, "experts")[1], route != 0)
    drop(page, ("china.jpg", pathlib.Path(CHINA).read_bytes()))
    settled(page)
    height, width = canvas(page, "seen").shape[:2]
    assert (height, width) == canvas(page, "map").shape[:2] == (4 * round(256 * 427 / 640), 4 * 256)
    shares = bars(page, "experts")[1]
    assert (len(shares), shares.sum()) == (3, pytest.approx(1))
    small = Image.fromarray(canvas(page, "seen")).convert("RGB").resize((640, 427))
    assert np.abs(np.asarray(small, float) - np.asarray(Image.open(CHINA), float)).mean() < 12
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    print(tmp_path / "page.png")


def test_what_is_not_an_image(page, address):
    opened(page, address)
    drop(page, ("notes.jpg", b"these are notes"))
    complains(page, "“notes.jpg” is damaged or not an image")
    page.set_input_files("#file", CHINA)
    settled(page)
    sync_api.expect(page.locator("#error")).to_be_hidden()


def test_model_that_is_missing_or_altered(page, address, files):
    page.route("**/hydranet*.tflite", lambda route: route.fulfill(status=404))
    page.goto(address)
    complains(page, "hydranet_cifar100", "is missing here", "404")
    page.unroute_all()
    altered = bytearray(files[0].read_bytes())
    altered[len(altered) // 2] ^= 1
    page.route("**/hydranet*.tflite", lambda route: route.fulfill(body=bytes(altered)))
    page.goto(address)
    complains(page, "hydranet_cifar100", "is damaged")


@pytest.mark.parametrize("missing", ["*.wasm", "*_internal.js"])
def test_runtime_that_does_not_start(page, address, missing):
    page.route(f"**/litert/wasm/{missing}", lambda route: route.fulfill(status=404))
    page.goto(address)
    complains(page, "runtime did not start", "loaded" if missing.endswith("js") else "wasm")


def as_png(pixels, path):
    Image.fromarray(pixels.astype("uint8")).save(path)
    return path.read_bytes()
