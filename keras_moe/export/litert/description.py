"""What an export says of itself, read strictly: a checksum tells that a file is whole, not who wrote it."""

import json
import os
import pathlib
import typing

from keras_moe.checks import IntegrityError
from keras_moe.export.litert.metadata import DESCRIPTION
from keras_moe.types import Path

Description: typing.TypeAlias = dict[str, typing.Any]


def attached(files: dict[str, bytes], label: Path) -> Description:
    """The description among the ``files`` (name -> bytes) behind a model.

    Raises:
        IntegrityError: none, or none that ``litert`` wrote.
    """
    try:
        return checked(json.loads(files[DESCRIPTION]), label)
    except (KeyError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{label}: expected a description by keras_moe.export. Received: {error!r}") from error


def checked(values: Description, label: Path) -> Description:
    """``values`` with a name and an input shape; IntegrityError if they have none."""
    name, shape = (values.get(key) if isinstance(values, dict) else None for key in ("name", "input_shape"))
    if not isinstance(name, str) or not _is_shape(shape):
        raise IntegrityError(f"{label}: expected a name and an input shape. Received: {name!r:.99}, {shape!r:.99}")
    return values


def parts(values: Description, manifest: pathlib.Path) -> dict[str, tuple[pathlib.Path, str]]:
    """Name -> (file beside the ``manifest``, its sha256) of the parts that it lists.

    Raises:
        IntegrityError: none, or one without a name, a sha256, or the plain name of a regular file.
    """
    rows = values.get("parts")
    if not isinstance(rows, list) or not rows or not all(map(_is_part, rows)):
        raise IntegrityError(f"{manifest}: expected parts with name, file and sha256. Received: {rows!r:.200}")
    return {row["name"]: (_beside(manifest, row["file"]), row["sha256"]) for row in rows}


def _is_shape(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(size) is int and size > 0 for size in value)


def _is_part(row: object) -> bool:
    return isinstance(row, dict) and all(isinstance(row.get(key), str) for key in ("name", "file", "sha256"))


def _beside(manifest: pathlib.Path, file: str) -> pathlib.Path:
    path = manifest.parent / file
    if path.parent != manifest.parent or path.name != file or file == "..":
        raise IntegrityError(f"{manifest}: expected the name of a file beside it. Received: {file!r:.99}")
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe, say, has no end
        raise IntegrityError(f"{path} is no file.")
    return path
