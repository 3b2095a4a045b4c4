"""The cache holds whole files or none, whatever the disk or another process does."""

import concurrent.futures
import errno
import os
import pathlib
import signal
import tempfile
import time
import traceback

import pytest
from mirror import BAD, DATA, FILE, URL, files_below, put, wait_until

from keras_moe.zoo import store

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("home")]
forks = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # no test's thread holds a lock

NOBODY = 65534


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


def test_cold_start_of_many_threads(mirror, home):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: store.fetch("tiny", FILE), range(16)))
    assert results == [DATA] * 16
    assert files_below(home) == [store.cache_path("tiny", FILE)]


def forked(function):
    """The process of a fork in which ``function`` is called. (A new one would import Keras for seconds.)"""
    process = os.fork()
    if process:
        return process
    try:
        function()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def exit_code(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@forks
@pytest.mark.parametrize("damaged", [False, True])
def test_cold_start_of_eight_processes(mirror, home, cached, damaged):
    def start():
        assert store.fetch("tiny", FILE) == DATA

    if damaged:
        put(cached, BAD["truncated"])
    mirror.go_on.clear()  # none has the file before all are on their way
    processes = [forked(start) for _ in range(8)]
    wait_until(lambda: len(mirror.asked) == 8)
    mirror.go_on.set()
    assert [exit_code(process) for process in processes] == [0] * 8
    assert files_below(home) == [cached]
    assert cached.read_bytes() == DATA


def test_corrupted_cache_met_by_many_threads(mirror, cached):
    put(cached, BAD["truncated"])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: store.fetch("tiny", FILE), range(16))) == [DATA] * 16
    assert cached.read_bytes() == DATA


@forks
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_sigkill_during_a_download_leaves_no_file(mirror, home):
    mirror.go_on.clear()
    process = forked(lambda: store.fetch("tiny", FILE))
    wait_until(lambda: mirror.asked)
    time.sleep(0.1)  # half of the file is on its way, the rest is held back
    os.kill(process, signal.SIGKILL)
    assert exit_code(process) == -signal.SIGKILL
    assert not files_below(home)
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


@pytest.fixture
def ordinary():
    """Calls a function as an ordinary user; root, for whom nothing is read-only, becomes one in a forked process."""

    def call(function):
        def demoted():
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            function()

        if os.getuid() != 0:
            function()
        else:
            assert exit_code(forked(demoted)) == 0

    return call


@forks
@pytest.mark.skipif(os.name == "nt", reason="there are no modes")
def test_read_only_cache(mirror, ordinary, monkeypatch):
    def fails():
        with pytest.raises(PermissionError, match=r"cache cannot be written: .*; set KERAS_HOME"):
            store.fetch("tiny", FILE)

    def reads():
        assert store.fetch("tiny", FILE) == DATA

    with tempfile.TemporaryDirectory() as open_to_all:  # pytest's own folders are closed to others
        os.chmod(open_to_all, 0o755)
        home = pathlib.Path(open_to_all, "home")
        monkeypatch.setenv("KERAS_HOME", str(home))
        monkeypatch.setattr(store, "published_folder", lambda: home.with_name("zoo"))
        home.mkdir(mode=0o555)
        ordinary(fails)
        home.chmod(0o755)
        path = store.cache_path("tiny", FILE)
        put(path, DATA)
        path.parent.chmod(0o555)
        ordinary(reads)  # what is there needs no writing
        path.write_bytes(BAD["truncated"])
        ordinary(fails)  # and what is damaged is not used
        path.parent.chmod(0o755)
    assert not mirror.asked


def test_full_disk(mirror, home, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(store, "write_bytes", full)
    with pytest.raises(OSError, match="cache cannot be written: No space left on device; set KERAS_HOME") as raised:
        store.fetch("tiny", FILE)
    assert raised.value.errno == errno.ENOSPC
    assert not files_below(home)


def test_a_disk_that_ends_in_the_middle_of_the_file(mirror, home):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(DATA) // 2, hard))
    try:
        with pytest.raises(OSError, match="cache cannot be written: File too large; set KERAS_HOME"):
            store.fetch("tiny", FILE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not files_below(home)
    assert store.fetch("tiny", FILE) == DATA
