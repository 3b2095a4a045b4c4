"""The camera of the web page, with Chromium's fake one: a green picture with a clock."""

import pathlib

import numpy as np
import pytest

pytest.importorskip("playwright", reason="needs the extra `browser`")
pytest.importorskip("ai_edge_litert", reason="needs the extra `litert`")

from page import bars, canvas, complains, forget, opened, settled
from playwright import sync_api

from keras_moe.export import LiteRTModel

pytestmark = pytest.mark.browser
ZOO = pathlib.Path(__file__).parents[2] / "zoo"
FAKE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
CLOSE = 0.02  # as in test_browser.py
TRACKS = "window.tracks.map(track => track.readyState)"
REMEMBER = """
    window.tracks = [];
    const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
        const stream = await original(wanted);
        window.tracks.push(...stream.getTracks());
        return stream;
    };
"""


@pytest.fixture(scope="module")
def files():
    names = ("hydranet_cifar100/routed_int8", "single_gated_cifar100/routed_int8", "classsr_fsrcnn_x4/routed_float16")
    return [ZOO / f"{name}.tflite" for name in names]


@pytest.fixture
def page(request, chromium):
    """An empty tab of a browser with the fake camera, or with the flags that a test is parametrized by."""
    flags = getattr(request, "param", FAKE)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *flags])
        page = browser.new_page()
        page.add_init_script(REMEMBER)
        yield page
        browser.close()


def started(page, address, index=0):
    opened(page, address, index)
    page.click("#camera")
    sync_api.expect(page.locator("#status")).to_have_text("Live.", timeout=60_000)
    page.wait_for_function("+document.getElementById('latency').dataset.frames > 0", timeout=60_000)


def stopped(page):
    assert page.inner_text("#camera") == "Start the camera"
    assert not page.is_visible("#live")
    assert set(page.evaluate(TRACKS)) == {"ended"}


def test_live_answers_are_those_of_python(page, address, files, tmp_path):
    started(page, address)
    assert page.evaluate(TRACKS) == ["live"]
    assert page.is_visible("#live")
    assert "frames a second" in page.inner_text("#latency")
    for name, width in (("phone", 390), ("desk", 1280)):
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
        print(tmp_path / f"{name}.png")
    page.click("#camera")
    settled(page)
    stopped(page)
    pixels = canvas(page, "seen")[..., :3]
    assert pixels.shape == (32, 32, 3)
    assert pixels.std() > 10, "a picture, not one colour"
    model = LiteRTModel(files[0])
    (prediction,), (route,) = model.predict_routed(pixels[None])
    labels, shares = bars(page, "predictions")
    np.testing.assert_allclose(shares, np.sort(prediction)[::-1][:5], atol=CLOSE)
    assert prediction[model.labels.index(labels[0])] >= prediction.max() - CLOSE
    np.testing.assert_allclose(bars(page, "experts")[1], route, atol=CLOSE)


def test_frames_go_on_and_the_model_may_change(page, address):
    started(page, address)
    seen = canvas(page, "seen")
    page.wait_for_function(
        "url => document.getElementById('seen').toDataURL() !== url",
        arg=page.evaluate("document.getElementById('seen').toDataURL()"),
    )
    assert (canvas(page, "seen") != seen).any()
    page.select_option("#model", index=1)
    sync_api.expect(page.locator("#experts li")).to_have_count(4, timeout=60_000)
    assert page.is_visible("#live")
    forget(page)
    page.select_option("#model", index=2)  # it enlarges pictures
    settled(page)
    stopped(page)
    assert not page.is_visible("#camera")


def test_starts_again_and_once_alone(page, address):
    started(page, address)
    page.click("#camera")
    settled(page)
    page.evaluate("for (let i = 0; i < 3; i++) document.getElementById('camera').click()")  # impatient
    sync_api.expect(page.locator("#camera")).to_have_text("Stop the camera", timeout=60_000)
    sync_api.expect(page.locator("#status")).to_have_text("Live.", timeout=60_000)
    assert page.evaluate(TRACKS) == ["ended", "live"]


@pytest.mark.parametrize("leave", ["hidden", "pagehide"])
def test_leaving_turns_the_camera_off(page, address, leave):
    started(page, address)
    if leave == "hidden":
        page.evaluate("""
            Object.defineProperty(document, "hidden", { get: () => true });
            document.dispatchEvent(new Event("visibilitychange"));
        """)
    else:
        page.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide'))")
    stopped(page)


def test_a_camera_that_goes_away(page, address):
    started(page, address)
    page.evaluate("window.tracks[0].stop(); window.tracks[0].dispatchEvent(new Event('ended'))")
    complains(page, "The camera went away.")
    stopped(page)


def test_a_picture_ends_it(page, address):
    started(page, address)
    forget(page)
    page.set_input_files("#file", {"name": "grey.svg", "mimeType": "image/svg+xml", "buffer": b"no image"})
    complains(page, "is damaged or not an image")
    stopped(page)


@pytest.mark.parametrize(
    ("page", "words"),
    [(FAKE[:1], "The camera may not be used. Allow it"), (FAKE[1:], "There is no camera here.")],
    indirect=["page"],
    ids=["refused", "none"],
)
def test_no_camera(page, address, words):
    opened(page, address)
    page.click("#camera")
    complains(page, words)
    assert page.inner_text("#camera") == "Start the camera"
    assert page.evaluate(TRACKS) == []


def test_an_insecure_page(page, address):
    page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    opened(page, address)
    page.click("#camera")
    complains(page, "The camera needs https or localhost.")
