"""The store returns the pinned bytes or nothing, whatever the disk, the network or another process does."""

import concurrent.futures
import errno
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import keras
import pytest

from keras_moe.zoo import store
from keras_moe.zoo.model_card import File
from keras_moe.zoo.writing import pin

pytestmark = pytest.mark.once

DATA = bytes(range(256)) * 4
FILE = pin("weights.safetensors", DATA)
URL = "/tiny/weights.safetensors"
BAD = {
    "truncated": DATA[:-1],
    "longer": DATA + b"\0",
    "much longer": DATA * 1000,
    "empty": b"",
    "page": b"<!doctype html><title>Please sign in</title>",
    **{f"bit {7 * i} flipped": DATA[:i] + bytes([DATA[i] ^ 1 << (i % 8)]) + DATA[i + 1 :] for i in range(0, 1024, 73)},
}


class Server(http.server.ThreadingHTTPServer):
    """Answers ``path -> (status, headers, body)``, counts what it is asked and may hold back half of an answer."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = {URL: (200, {}, DATA)}
        self.asked = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        status, headers, body = self.server.answers.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body[: len(body) // 2])
            self.server.go_on.wait(20)
            self.wfile.write(body[len(body) // 2 :])
        except OSError:
            pass  # the client hung up, as it should on an answer that is too long

    def log_message(self, *args):
        pass


@pytest.fixture
def fresh():
    """Nothing here leaves state in Keras, and clearing it costs more than these tests."""


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty zoo and an empty cache."""
    monkeypatch.setattr(store, "published_folder", lambda: tmp_path / "zoo")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("KERAS_MOE_MIRROR", raising=False)
    monkeypatch.delenv("KERAS_MOE_OFFLINE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def cached(home):
    path = home / "models" / "keras_moe" / "tiny" / FILE.sha256[:12] / FILE.name
    assert store.cache_path("tiny", FILE) == path
    return path


@pytest.fixture
def mirror(server, monkeypatch):
    monkeypatch.setenv("KERAS_MOE_MIRROR", server.url)
    return server


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_shipped_file_needs_neither_cache_nor_mirror(tmp_path, home, monkeypatch):
    monkeypatch.setenv("KERAS_MOE_MIRROR", "not a url")
    put(tmp_path / "zoo" / "tiny" / FILE.name, DATA)
    assert store.fetch("tiny", FILE) == DATA
    assert not home.exists()


@pytest.mark.parametrize("kind", BAD)
def test_shipped_file_that_is_another(tmp_path, kind, mirror):
    shipped = tmp_path / "zoo" / "tiny" / FILE.name
    put(shipped, BAD[kind])
    with pytest.raises(store.IntegrityError) as raised:
        store.fetch("tiny", FILE)
    for part in (str(shipped), "Expected: 1024 bytes", FILE.sha256, "Received: ", "Install keras-moe anew"):
        assert part in str(raised.value)
    assert shipped.read_bytes() == BAD[kind]
    assert not mirror.asked


@pytest.mark.parametrize("kind", BAD)
def test_bad_download_is_not_kept(kind, mirror, home):
    mirror.answers[URL] = (200, {}, BAD[kind])
    with pytest.raises(store.IntegrityError, match=f"{mirror.url}{URL} is not the file"):
        store.fetch("tiny", FILE)
    assert not files_below(home)
    mirror.answers[URL] = (200, {}, DATA)
    assert store.fetch("tiny", FILE) == DATA


def test_long_download_is_cut_off(mirror):
    mirror.go_on.clear()  # the second half never comes; the first is already too long
    mirror.answers[URL] = (200, {"Content-Length": str(10**12)}, (DATA + b"\0") * 2)
    with pytest.raises(store.IntegrityError, match="more than 1024 bytes"):
        store.fetch("tiny", FILE)


def test_connection_that_breaks(mirror, home):
    mirror.answers[URL] = (200, {"Content-Length": "1024"}, DATA[:500])
    with pytest.raises((store.IntegrityError, ConnectionError)):
        store.fetch("tiny", FILE)
    assert not files_below(home)


def test_download_is_cached(mirror, cached):
    assert store.fetch("tiny", FILE) == DATA
    assert cached.read_bytes() == DATA
    assert store.fetch("tiny", FILE) == DATA
    assert mirror.asked == [URL]


def test_file_mirror(tmp_path, monkeypatch):
    put(tmp_path / "share" / "tiny" / FILE.name, DATA)
    monkeypatch.setenv("KERAS_MOE_MIRROR", (tmp_path / "share").as_uri() + "/")
    assert store.fetch("tiny", FILE) == DATA


@pytest.mark.parametrize("kind", BAD)
def test_corrupted_cache_is_fetched_anew(kind, mirror, cached):
    put(cached, BAD[kind])
    assert store.fetch("tiny", FILE) == DATA
    assert cached.read_bytes() == DATA
    assert mirror.asked == [URL]


def test_corrupted_cache_is_fetched_anew_only_once(mirror, cached):
    put(cached, BAD["page"])
    mirror.answers[URL] = (200, {}, BAD["page"])
    with pytest.raises(store.IntegrityError):
        store.fetch("tiny", FILE)
    assert mirror.asked == [URL]
    assert not cached.exists()


def test_corrupted_cache_without_mirror_is_removed(cached):
    put(cached, BAD["truncated"])
    with pytest.raises(store.IntegrityError, match="removed; set KERAS_MOE_MIRROR"):
        store.fetch("tiny", FILE)
    assert not cached.exists()


def test_nowhere(cached):
    with pytest.raises(FileNotFoundError, match="set KERAS_MOE_MIRROR") as raised:
        store.fetch("tiny", FILE)
    assert str(cached) in str(raised.value)
    assert FILE.sha256 in str(raised.value)


def test_offline_opens_no_socket(mirror, cached, monkeypatch):
    monkeypatch.setenv("KERAS_MOE_OFFLINE", "1")
    monkeypatch.setattr(socket, "socket", lambda *args, **kwargs: pytest.fail("a socket was opened"))
    with pytest.raises(FileNotFoundError, match="KERAS_MOE_OFFLINE unset") as raised:
        store.fetch("tiny", FILE)
    assert str(cached) in str(raised.value)
    put(cached, DATA)
    assert store.fetch("tiny", FILE) == DATA


@pytest.mark.parametrize("status", [404, 403, 500])
def test_mirror_says_no(status, mirror):
    mirror.answers[URL] = (status, {}, DATA)
    with pytest.raises(ConnectionError, match=f"{URL} could not be fetched: .*{status}"):
        store.fetch("tiny", FILE)


def test_mirror_that_does_not_answer(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("KERAS_MOE_MIRROR", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(ConnectionError, match="could not be fetched"):
            store.fetch("tiny", FILE)


@pytest.mark.parametrize("url", ["http://[", "http://a b", "http://host:port", "file:///nowhere"])
def test_mirror_that_is_a_broken_url(url, monkeypatch):
    monkeypatch.setenv("KERAS_MOE_MIRROR", url)
    with pytest.raises(ConnectionError, match=r"could not be fetched: .*Is KERAS_MOE_MIRROR right\?"):
        store.fetch("tiny", FILE)


@pytest.mark.parametrize(
    "url", ["http://", "ftp://host", "/tmp", "host", "file://host/x", "data:,x", "javascript://x", "HTTP:x"]
)
def test_mirror_that_is_no_url(url, monkeypatch):
    monkeypatch.setenv("KERAS_MOE_MIRROR", url)
    with pytest.raises(ValueError, match="KERAS_MOE_MIRROR must start with"):
        store.fetch("tiny", FILE)


@pytest.mark.parametrize(
    "target", ["http://localhost:{port}/x", "http://[", "https://example.org/x", "file:///etc/hosts", "//other/x"]
)
def test_redirect_elsewhere_is_refused(target, mirror):
    mirror.answers["/x"] = (200, {}, DATA)
    mirror.answers[URL] = (302, {"Location": target.format(port=mirror.server_port)}, b"")
    with pytest.raises(ConnectionError, match="could not be fetched"):
        store.fetch("tiny", FILE)
    assert mirror.asked == [URL]


def test_redirect_from_https_to_http_is_refused():
    request = store.urllib.request.Request("https://host/a")
    with pytest.raises(OSError, match="redirect to http://host/b refused"):
        store._SameHost().redirect_request(request, None, 302, "", {}, "http://host/b")


def test_redirect_on_the_same_host_is_followed(mirror):
    mirror.answers["/x"] = (200, {}, DATA)
    mirror.answers[URL] = (302, {"Location": "/x"}, b"")
    assert store.fetch("tiny", FILE) == DATA


@pytest.mark.parametrize("name", ["../tiny", "/tiny", "ti/ny", "..", "", "tiny\0", "Tiny", None])
def test_hostile_names_are_refused_before_any_io(name, mirror, monkeypatch):
    monkeypatch.setattr(store, "published_folder", lambda: pytest.fail("the disk was asked"))
    with pytest.raises(ValueError, match="Expected a name"):
        store.fetch(name, FILE)
    with pytest.raises(ValueError, match="Expected a name"):
        File(name, 1, "0" * 64)
    assert not mirror.asked


def test_cold_start_of_many_threads(mirror, home):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: store.fetch("tiny", FILE), range(16)))
    assert results == [DATA] * 16
    assert files_below(home) == [store.cache_path("tiny", FILE)]


def test_corrupted_cache_met_by_many_threads(mirror, cached):
    put(cached, BAD["truncated"])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: store.fetch("tiny", FILE), range(16))) == [DATA] * 16
    assert cached.read_bytes() == DATA


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_sigkill_during_a_download_leaves_no_file(mirror, home):
    mirror.go_on.clear()
    script = (
        f"from keras_moe.zoo.store import fetch; from keras_moe.zoo.model_card import File; fetch('tiny', {FILE!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "KERAS_BACKEND": "numpy"})
    deadline = time.monotonic() + 60
    while not mirror.asked and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert mirror.asked == [URL]
    time.sleep(0.1)  # half of the file is on its way, the rest is held back
    process.send_signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    assert [path.name for path in files_below(home) if path.name != "keras.json"] == []
    mirror.go_on.set()
    assert store.fetch("tiny", FILE) == DATA


def test_what_a_killed_process_left_is_swept(mirror, cached):
    old, new = cached.with_name(".weights-old.part"), cached.with_name(".weights-new.part")
    put(old, b"half")
    put(new, b"half")
    os.utime(old, (0, time.time() - 2 * 24 * 3600))
    store.fetch("tiny", FILE)
    assert sorted(path.name for path in cached.parent.iterdir()) == [new.name, FILE.name]


def test_cache_that_cannot_be_made(mirror, home):
    home.write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"cache cannot be written: .*; set KERAS_HOME"):
        store.fetch("tiny", FILE)
    assert not mirror.asked


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="root may write anywhere")
def test_read_only_cache(mirror, home):
    home.mkdir(mode=0o500)
    with pytest.raises(PermissionError, match=r"cache cannot be written: .*; set KERAS_HOME"):
        store.fetch("tiny", FILE)


def test_full_disk(mirror, home, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(store, "write_bytes", full)
    with pytest.raises(OSError, match="cache cannot be written: No space left on device; set KERAS_HOME") as raised:
        store.fetch("tiny", FILE)
    assert raised.value.errno == errno.ENOSPC
    assert not files_below(home)


def test_progress_only_where_logging_is_interactive(mirror, cached, capsys):
    before = keras.config.is_interactive_logging_enabled()
    try:
        keras.config.disable_interactive_logging()
        store.fetch("tiny", FILE)
        assert capsys.readouterr().out == ""
        keras.config.enable_interactive_logging()
        cached.unlink()
        store.fetch("tiny", FILE)
        assert "1024/1024" in capsys.readouterr().out
    finally:
        (keras.config.enable_interactive_logging if before else keras.config.disable_interactive_logging)()


@pytest.mark.parametrize("installed", [False, True])
def test_published_folder(installed, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(store, "__file__", str(tmp_path / "keras_moe" / "zoo" / "store.py"))
    inside = tmp_path / "keras_moe" / "zoo" / "published"
    if installed:
        inside.mkdir(parents=True)
    assert store.published_folder() == (inside if installed else tmp_path / "zoo")
