"""Writes a model folder whole or not at all."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping

from keras_moe.files import write_bytes
from keras_moe.zoo.model_card import CARD, LABELS, Card, File, card_files, check_name

_RECORDS = ("log.json", "metrics.json")


def write_folder(path: pathlib.Path, card: Card, contents: Mapping[str, bytes], overwrite: bool = False) -> None:
    """Writes a model folder: the files of the card and what is beside them.

    All is written into a new folder beside it, which then takes its name. What else a former folder holds, such as
    an app, is carried over.

    Args:
        path: of the folder; the one above it must exist.
        card: a ``Card``.
        contents: file name -> bytes, for all of ``card.files`` and others.
        overwrite: bool, whether a model folder may be replaced.

    Raises:
        ValueError: a card that could not be read again, or a file name that is a path.
        FileExistsError: something else than an empty folder is there, or a model folder without ``overwrite``.
        OSError: the folder cannot be written. Whatever is raised, what was there is there as it was.
    """
    for name in contents:
        check_name(name)
    files = {**contents, **card_files(card)}
    path = pathlib.Path(os.path.realpath(path))
    check_target(path, overwrite)
    with _beside(path, ".part") as draft:
        _copy_others(path, draft, files)
        for name, data in files.items():
            write_bytes(draft / name, data)
        _take_name(draft, path)


def check_target(path: pathlib.Path, overwrite: bool) -> None:
    """Raises FileExistsError or FileNotFoundError unless a model folder may be written to ``path``."""
    path = pathlib.Path(os.path.realpath(path))
    restore(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"No such folder: {path.parent}. Expected a model folder inside one that exists.")
    if not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / CARD).is_file():
        raise FileExistsError(f"{path} exists and is no model folder; nothing was written. Expected a new name.")
    if not overwrite:
        raise FileExistsError(f"{path} exists; nothing was written. `overwrite=True` replaces the model in it.")


def restore(path: pathlib.Path) -> None:
    """Gives a folder its name back, if a process was killed between the two renames that replace it."""
    old = _set_aside(path)
    if old.is_dir() and not os.path.lexists(path):
        os.rename(old, path)


def write_card(card: Card, folder: pathlib.Path) -> None:
    """Writes the card of a model folder anew.

    Raises:
        ValueError: a card that could not be read again; nothing is written.
    """
    for name, data in reversed(card_files(card).items()):  # labels first
        write_bytes(folder / name, data)


def pin(name: str, data: bytes) -> File:
    """The ``File`` of a name and its content."""
    return File(name, len(data), hashlib.sha256(data).hexdigest())


def _copy_others(path: pathlib.Path, draft: pathlib.Path, files: Mapping[str, bytes]) -> None:
    if not path.is_dir():
        return
    former = {*files, LABELS, *_RECORDS, *_named_by_card(path)}

    def replaced(folder: str, names: list[str]) -> set[str]:
        return former & set(names) if os.path.samefile(folder, path) else set()

    shutil.copytree(path, draft, symlinks=True, ignore=replaced, dirs_exist_ok=True, copy_function=_link)


def _named_by_card(path: pathlib.Path) -> set[str]:
    """Names of the former model's files; of an empty folder, or with a card that cannot be read, none."""
    try:
        table = tomllib.loads((path / CARD).read_text("utf-8"))
        return {str(file["name"]) for file in table["files"]}
    except (OSError, ValueError, LookupError, TypeError):
        return set()


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without links
        shutil.copy2(source, target, follow_symlinks=False)


def _take_name(draft: pathlib.Path, path: pathlib.Path) -> None:
    old = _set_aside(path)
    if path.is_dir():
        shutil.rmtree(old, ignore_errors=True)  # of a process that was killed before it had removed it
        os.rename(path, old)
    try:
        os.rename(draft, path)
    except BaseException:
        restore(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _set_aside(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}.old")


@contextlib.contextmanager
def _beside(path: pathlib.Path, suffix: str) -> Iterator[pathlib.Path]:
    """A new folder beside ``path``, which is removed unless it was renamed."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-", suffix=suffix))
    try:
        os.chmod(folder, 0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
