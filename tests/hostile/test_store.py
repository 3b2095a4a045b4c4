"""The store returns the pinned bytes or nothing, whatever the mirror or the network does."""

import socket

import keras
import pytest
from mirror import BAD, DATA, FILE, URL, files_below, put

from keras_moe.zoo import store
from keras_moe.zoo.model_card import File

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("home")]


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
