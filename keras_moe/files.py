"""Atomic writing of files, and what their names say."""

import json
import os
import pathlib
import tempfile


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes ``data`` to ``path`` so that a reader sees the old file or the whole new one, never a part."""
    path = pathlib.Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def is_table(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is named like a table of images, ``.csv``."""
    return pathlib.Path(path).suffix.lower() == ".csv"


def printable(path: str | os.PathLike[str]) -> str:
    """``path`` as text that can be printed and written: bytes of a name that are not UTF-8 become escapes."""
    return os.fsencode(path).decode(errors="backslashreplace")


def to_json(value: object) -> bytes:
    """``value`` as JSON of many lines, floats to 6 decimals."""
    rounded = json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 6))
    return (json.dumps(rounded, indent=1) + "\n").encode()


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Writes ``to_json(value)``, atomically."""
    write_bytes(path, to_json(value))
