"""The page of examples/service in headless Chromium: it shows what the service answers, and asks it alone."""

import json
import pathlib
import sys

import pytest
from sklearn.datasets import load_sample_images

pytest.importorskip("playwright", reason="needs the extra `browser`")
pytest.importorskip("fastapi", reason="needs the extra `service`")

from page import drop, forget
from playwright import sync_api

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "service"
sys.path.insert(0, str(EXAMPLE))
import load_test  # noqa: E402

sys.path.remove(str(EXAMPLE))

pytestmark = pytest.mark.browser
CHINA = pathlib.Path(next(name for name in load_sample_images().filenames if name.endswith("china.jpg")))


@pytest.fixture(scope="module")
def port():
    with load_test.serving("hydranet_cifar100") as (_, port, _):
        load_test.wait_until_ready(port)
        yield port


@pytest.fixture
def page(chromium, port):
    """The page, once the model is there; at the end every request must have gone to the service."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page, asked = browser.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://127.0.0.1:{port}")
        says(page, "Ready.")
        yield page
        assert not [url for url in asked if not url.startswith((f"http://127.0.0.1:{port}/", "data:", "blob:"))]
        browser.close()


def says(page, words):
    sync_api.expect(page.locator("#status")).to_have_text(words, timeout=120_000)


def pick(page, file):
    forget(page)
    page.set_input_files("#file", file)


def test_a_photo(page, port, tmp_path):
    body, headers = load_test.form(("china.jpg", CHINA.read_bytes()))
    _, answer = load_test.ask(port, "POST", "/classify", body, headers)
    pick(page, CHINA)
    says(page, "Ready.")
    assert page.locator("#labels b").all_inner_texts() == [label for label, _ in answer["top"]]
    assert page.locator("#experts b").all_inner_texts() == [f"expert {k}" for k in answer["route"]]
    executed, total = (f"{answer[f'macs_{which}'] / 1e6:.2f}" for which in ("executed", "total"))
    assert f"{executed} of {total} million" in page.inner_text("#cost-words")
    assert page.evaluate("document.getElementById('photo').naturalWidth") == 640
    for name, width in (("phone", 390), ("desk", 1280)):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
        print(tmp_path / f"{name}.png")
    print(json.dumps(answer))


def test_refusals_are_shown_and_forgotten(page):
    pick(page, {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"these are notes"})
    says(page, "Stopped.")
    assert "not an image that can be read" in page.inner_text("#error")
    sync_api.expect(page.locator("#result")).to_be_hidden()
    drop(page, ("a.jpg", b"no image"), ("b.jpg", b"no image"))
    says(page, "Stopped.")
    assert page.inner_text("#error") == "Expected one file. Received: 2."
    pick(page, CHINA)
    says(page, "Ready.")
    sync_api.expect(page.locator("#error")).to_be_hidden()
    sync_api.expect(page.locator("#result")).to_be_visible()


def test_a_server_that_is_gone(page):
    page.route("**/classify", lambda route: route.abort())
    pick(page, CHINA)
    says(page, "Stopped.")
    assert page.inner_text("#error") == "The server does not answer."
