"""Finds the files of published models and returns their verified bytes.

A file is looked for in the folder that ships with the package, in the cache ``$KERAS_HOME/models/keras_moe``, and on
the mirror that ``KERAS_MOE_MIRROR`` names. Size and sha256 are checked on every load, on the very bytes that are
returned: a parser never sees other bytes than the checked ones. ``KERAS_MOE_OFFLINE=1`` forbids the mirror.
"""

import contextlib
import hashlib
import http.client
import os
import pathlib
import time
import typing
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator

from keras_moe.checks import IntegrityError
from keras_moe.files import write_bytes
from keras_moe.zoo.model_card import File, check_name

_CHUNK = 1 << 16
_TIMEOUT = 30.0
_DAY = 24 * 3600.0


def published_folder() -> pathlib.Path:
    """The folder of the published models: inside an installed package, or ``zoo`` at the root of a checkout."""
    here = pathlib.Path(__file__).parent
    installed = here / "published"
    return installed if installed.is_dir() else here.parents[1] / "zoo"


def cache_path(name: str, file: File) -> pathlib.Path:
    """The path of a ``File`` of the model ``name`` in the cache; it need not exist."""
    check_name(name)
    home = os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras"
    return pathlib.Path(home) / "models" / "keras_moe" / name / file.sha256[:12] / file.name


def fetch(name: str, file: File) -> bytes:
    """The content of a published file.

    Args:
        name: str, the model's name.
        file: a ``File`` of its card.

    Returns:
        bytes whose size and sha256 are those of ``file``.

    Raises:
        ValueError: a name that is not a plain name, or a ``KERAS_MOE_MIRROR`` that is not a URL.
        IntegrityError: the file found, or sent by the mirror, is not the published one. A bad file in the cache is
            removed and, with a mirror, fetched again once.
        FileNotFoundError: the file is not on this machine, and there is no mirror or ``KERAS_MOE_OFFLINE`` is set.
        ConnectionError: the mirror did not send the file.
        OSError: the cache cannot be written.
    """
    cached, shipped = cache_path(name, file), published_folder() / name / file.name
    if shipped.exists():
        return verified(_read(shipped, file), file, shipped, "Install keras-moe anew, or restore the file.")
    mirror = _mirror()
    try:
        return verified(_read(cached, file), file, cached, "It was removed; set KERAS_MOE_MIRROR to fetch it anew.")
    except IntegrityError:
        with _explained(cached):
            cached.unlink(missing_ok=True)
        if mirror is None:
            raise
    except (FileNotFoundError, NotADirectoryError):
        if mirror is None:
            raise FileNotFoundError(
                f"{name}/{file.name} ({file.size} bytes, sha256 {file.sha256}) is not on this machine. Put it at "
                f"{cached}, or set KERAS_MOE_MIRROR to the URL of a folder that holds {name}/{file.name}, with "
                "KERAS_MOE_OFFLINE unset."
            ) from None
    return _into_cache(f"{mirror}/{name}/{file.name}", file, cached)


def is_offline() -> bool:
    """Whether ``KERAS_MOE_OFFLINE`` forbids the network."""
    return os.environ.get("KERAS_MOE_OFFLINE", "0") not in ("", "0")


def _mirror() -> str | None:
    url = os.environ.get("KERAS_MOE_MIRROR", "").rstrip("/")
    if not url or is_offline():
        return None
    if not url.startswith(("https://", "http://", "file:///")):
        raise ValueError(f"KERAS_MOE_MIRROR must start with https://, http:// or file:///. Received: {url!r}")
    return url


def _read(path: pathlib.Path, file: File) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(file.size + 1)


def verified(data: bytes, file: File, source: object, remedy: str) -> bytes:
    """``data`` if they are those of ``file``; else IntegrityError, which names ``source`` and says the ``remedy``."""
    digest = hashlib.sha256(data).hexdigest()
    if len(data) == file.size and digest == file.sha256:
        return data
    received = f"{len(data)} bytes, sha256 {digest}" if len(data) <= file.size else f"more than {file.size} bytes"
    raise IntegrityError(
        f"{source} is not the file its card names. Expected: {file.size} bytes, sha256 {file.sha256}. "
        f"Received: {received}. {remedy}"
    )


def _into_cache(url: str, file: File, cached: pathlib.Path) -> bytes:
    with _explained(cached):
        cached.parent.mkdir(parents=True, exist_ok=True)
    _sweep(cached.parent)
    data = verified(_download(url, file), file, url, "Nothing was kept. Try again, or set another KERAS_MOE_MIRROR.")
    with _explained(cached):
        # A temporary file of its own, then one rename: processes that race here all end with the whole file.
        write_bytes(cached, data)
    return data


def _download(url: str, file: File) -> bytes:
    """The bytes at ``url``, up to one more than the file has: enough to see that it is too long."""
    data, progress = bytearray(), _progress(url, file.size)
    try:
        with urllib.request.build_opener(_SameHost).open(url, timeout=_TIMEOUT) as response:
            while chunk := response.read(min(_CHUNK, file.size + 1 - len(data))):
                data += chunk
                progress(min(len(data), file.size))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ConnectionError(f"{url} could not be fetched: {error}. Is KERAS_MOE_MIRROR right?") from error
    return bytes(data)


def _progress(url: str, size: int) -> Callable[[int], None]:
    import keras

    if not keras.config.is_interactive_logging_enabled():
        return lambda received: None
    print(f"Downloading {url}")
    update: Callable[[int], None] = keras.utils.Progbar(size, unit_name="byte").update
    return update


def _sweep(folder: pathlib.Path) -> None:
    """Removes the unfinished files of killed processes; no write takes a day."""
    for part in folder.glob("*.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _DAY:
                part.unlink()


@contextlib.contextmanager
def _explained(cached: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror}; set KERAS_HOME to a folder that can be written"
        raise OSError(error.errno, f"The cache cannot be written: {reason}", str(cached)) from error


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Refuses redirects to another host or from https to http: the user alone chooses the mirror."""

    def redirect_request(
        self,
        request: urllib.request.Request,
        response: typing.IO[bytes],
        code: int,
        message: str,
        headers: http.client.HTTPMessage,
        url: str,
    ) -> urllib.request.Request | None:
        before, after = urllib.parse.urlsplit(request.full_url), urllib.parse.urlsplit(url)
        if after.hostname != before.hostname or after.scheme not in (before.scheme, "https"):
            raise urllib.error.URLError(f"redirect to {url} refused")
        return super().redirect_request(request, response, code, message, headers, url)
