"""What tests do with the page and read from it."""

import base64
import io

import numpy as np
from PIL import Image
from playwright import sync_api


def opened(page, address, index=0):
    """The page with its ``index``-th model."""
    page.goto(address)
    settled(page)
    forget(page)
    page.select_option("#model", index=index)
    settled(page)


def settled(page):
    sync_api.expect(page.locator("#status")).to_have_text("Ready.", timeout=60_000)


def complains(page, *words):
    sync_api.expect(page.locator("#status")).to_have_text("Stopped.", timeout=60_000)
    message = page.locator("#error").inner_text()
    assert all(word in message for word in words), message
    sync_api.expect(page.locator("#result")).to_be_hidden()


def forget(page):
    """So that "Ready." is not that of the action before."""
    page.evaluate("document.getElementById('status').textContent = ''")


def canvas(page, name):
    """Pixels of a canvas, uint8 ``(h, w, 4)``."""
    url = page.evaluate(f"document.getElementById('{name}').toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))


def bars(page, kind):
    found = page.locator(f"#{kind} li").evaluate_all("items => items.map(i => [i.dataset.name, +i.dataset.share])")
    return [name for name, _ in found], np.array([share for _, share in found])


def drop(page, *files):
    """Drops files, each ``(name, bytes)``, on the page as a user does."""
    forget(page)
    page.evaluate(
        """files => {
            const dataTransfer = new DataTransfer();
            for (const [name, bytes] of files) dataTransfer.items.add(new File([new Uint8Array(bytes)], name));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        [(name, list(data)) for name, data in files],
    )
