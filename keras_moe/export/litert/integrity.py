"""Sealed files: a LiteRT file with its labels and description appended, and a checksum over all of it at its end.

LiteRT keeps associated files (class labels, …) as a ZIP archive behind the model, which runtimes that do not know of it
ignore. The archive's comment, the file's last bytes, holds the sha256 of everything before it, so that a truncated or
altered file is refused before a runtime, which might crash on it, sees it. A checksum tells that a file is whole, not
who wrote it: what an export says of itself is read strictly.
"""

import hashlib
import io
import json
import os
import pathlib
import typing
import zipfile

from keras_moe.checks import IntegrityError
from keras_moe.export.litert.metadata import DESCRIPTION
from keras_moe.types import Path

Description: typing.TypeAlias = dict[str, typing.Any]

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


def attached_description(files: dict[str, bytes], label: Path) -> Description:
    """The description among the ``files`` (name -> bytes) behind a model.

    Raises:
        IntegrityError: none, or none that ``litert`` wrote.
    """
    try:
        return checked_description(json.loads(files[DESCRIPTION]), label)
    except (KeyError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{label}: expected a description by keras_moe.export. Received: {error!r}") from error


def checked_description(values: Description, label: Path) -> Description:
    """``values`` with a name and an input shape; IntegrityError if they have none."""
    name, shape = (values.get(key) if isinstance(values, dict) else None for key in ("name", "input_shape"))
    if not isinstance(name, str) or not _is_shape(shape):
        raise IntegrityError(f"{label}: expected a name and an input shape. Received: {name!r:.99}, {shape!r:.99}")
    return values


def listed_parts(values: Description, manifest_path: pathlib.Path) -> dict[str, tuple[pathlib.Path, str]]:
    """Name -> (file beside the manifest, its sha256) of the parts that it lists.

    Raises:
        IntegrityError: none, or one without a name, a sha256, or the plain name of a regular file.
    """
    rows = values.get("parts")
    if not isinstance(rows, list) or not rows or not all(map(_is_part, rows)):
        raise IntegrityError(f"{manifest_path}: expected parts with name, file and sha256. Received: {rows!r:.200}")
    return {row["name"]: (_beside(manifest_path, row["file"]), row["sha256"]) for row in rows}


def _digest(values: dict[str, typing.Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _is_shape(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(size) is int and size > 0 for size in value)


def _is_part(row: object) -> bool:
    return isinstance(row, dict) and all(isinstance(row.get(key), str) for key in ("name", "file", "sha256"))


def _beside(manifest_path: pathlib.Path, file: str) -> pathlib.Path:
    path = manifest_path.parent / file
    if path.parent != manifest_path.parent or path.name != file or file == "..":
        raise IntegrityError(f"{manifest_path}: expected the name of a file beside it. Received: {file!r:.99}")
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe, say, has no end
        raise IntegrityError(f"{path} is no file.")
    return path
