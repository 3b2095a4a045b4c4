"""The built page, served, and a Chromium to open it."""

import functools
import http.server
import pathlib
import shutil
import subprocess
import sys
import threading

import pytest

from keras_moe import zoo
from keras_moe.export import LiteRTModel, litert
from keras_moe.images import crops

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "browser"
ZOO = EXAMPLE.parents[1] / "zoo"
CROPS = crops((32, 32, 3), 6)


@pytest.fixture(scope="session")
def chromium():
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium: `apt-get install chromium`")
    return found


@pytest.fixture(scope="session")
def leaving_early(tmp_path_factory):
    """A float file of the single-gated mixture whose base answers alone where it is fairly sure."""
    path = tmp_path_factory.mktemp("export") / "early.tflite"
    model = zoo.load("single_gated_cifar100")
    model.threshold = 0.5
    litert(model, path, images=CROPS, card=zoo.card("single_gated_cifar100"))
    left = ~LiteRTModel(path).route(CROPS).any(axis=1)
    assert 0 < left.mean() < 1, "some of these crops must leave early, some must not"
    return path


@pytest.fixture(scope="session")
def files(leaving_early):
    published = [ZOO / name / "routed_int8.tflite" for name in ("hydranet_cifar100", "single_gated_cifar100")]
    return [*published, leaving_early, ZOO / "classsr_fsrcnn_x4" / "routed_float16.tflite"]


@pytest.fixture(scope="session")
def runtime():
    if not shutil.which("npm"):
        pytest.skip("no npm: `apt-get install npm`")
    fetched = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=EXAMPLE, capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip(f"npm could not fetch LiteRT.js: {fetched.stderr[-500:]}")


@pytest.fixture(scope="session")
def folder(runtime, files, tmp_path_factory):
    """The built page."""
    folder = tmp_path_factory.mktemp("page")
    subprocess.run([sys.executable, EXAMPLE / "build.py", *files, "--out", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def address(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
