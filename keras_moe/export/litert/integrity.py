"""Sealed files: a LiteRT file with its labels and description appended, and a checksum over all of it at its end.

LiteRT keeps associated files (class labels, …) as a ZIP archive behind the model, which runtimes that do not know of it
ignore. The archive's comment, the file's last bytes, holds the sha256 of everything before it, so that a truncated or
altered file is refused before a runtime, which might crash on it, sees it.
"""

import hashlib
import io
import json
import typing
import zipfile

from keras_moe.checks import IntegrityError
from keras_moe.types import Path

_PREFIX = b"sha256:"
LENGTH = len(_PREFIX) + 64
_OLDEST = (1980, 1, 1, 0, 0, 0)  # ZIP's first day: equal content gives equal bytes


def seal(model: bytes, files: dict[str, bytes]) -> bytes:
    """``model``, the bytes of a LiteRT model, with ``files`` (name -> bytes) and a checksum behind it."""
    buffer = io.BytesIO(model)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _OLDEST), data)
        archive.comment = bytes(LENGTH)
    return checksummed(buffer.getvalue()[:-LENGTH])


def checksummed(content: bytes) -> bytes:
    """``content`` and its checksum, of ``LENGTH`` bytes."""
    return content + _PREFIX + hashlib.sha256(content).hexdigest().encode()


def unseal(data: bytes, label: Path) -> dict[str, bytes]:
    """The files (name -> bytes) behind a sealed model, once all of ``data`` is known to be as it was sealed.

    Args:
        data: of the file.
        label: what errors call it.

    Raises:
        IntegrityError: it is not as it was sealed.
    """
    if data[4:8] != b"TFL3":
        raise IntegrityError(f"{label} is not a LiteRT model: expected 'TFL3' at byte 4. Received: {data[4:8]!r}")
    if data != checksummed(data[:-LENGTH]):
        raise IntegrityError(
            f"{label} is truncated, altered, or was not written by keras_moe.export: the checksum at its end is "
            f"missing or does not match its {len(data)} bytes. Fetch or export it again."
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > len(data):  # nothing that `seal` writes is compressed
                raise ValueError("its attached files are larger than itself")
            return {entry.filename: archive.read(entry) for entry in entries}
    except Exception as error:  # an archive of a stranger, who can write a checksum too, raises nearly anything
        raise IntegrityError(f"{label} was not written by keras_moe.export: {error}") from error


def manifest(values: dict[str, typing.Any]) -> bytes:
    """JSON bytes of ``values``, dict, with their checksum."""
    return (json.dumps({**values, "sha256": _digest(values)}, indent=1) + "\n").encode()


def read_manifest(data: bytes, label: Path) -> dict[str, typing.Any]:
    """The dict that ``manifest`` wrote. Raises IntegrityError where it is not as it was written."""
    try:
        values: dict[str, typing.Any] = json.loads(data)
        claimed = values.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise IntegrityError(f"{label} is not a manifest that keras_moe.export wrote.") from error
    if claimed != _digest(values):
        raise IntegrityError(f"{label} was altered: its checksum does not match. Export it again.")
    return values


def _digest(values: dict[str, typing.Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
