"""An empty cache, and a mirror of one file."""

import threading

import pytest
from mirror import FILE, Server

from keras_moe.zoo import store


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


@pytest.fixture
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
