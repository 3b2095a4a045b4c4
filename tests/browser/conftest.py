"""The built page, served, and a Chromium to open it."""

import functools
import http.server
import pathlib
import shutil
import subprocess
import sys
import threading

import pytest

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "browser"


@pytest.fixture(scope="session")
def chromium():
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium: `apt-get install chromium`")
    return found


@pytest.fixture(scope="session")
def runtime():
    if not shutil.which("npm"):
        pytest.skip("no npm: `apt-get install npm`")
    fetched = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=EXAMPLE, capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip(f"npm could not fetch LiteRT.js: {fetched.stderr[-500:]}")


@pytest.fixture(scope="module")
def folder(runtime, files, tmp_path_factory):
    """The page, built with the ``files`` of the test module."""
    folder = tmp_path_factory.mktemp("page")
    subprocess.run([sys.executable, EXAMPLE / "build.py", *files, "--out", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def address(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
