"""The files of a labelled set, with the labels and parts that their folders or a table give. Only a table is opened."""

import collections
import csv
import dataclasses
import os
import pathlib
import typing
import unicodedata
from collections.abc import Iterator

from keras_moe.datasets.files.report import Remark
from keras_moe.files import is_table, printable
from keras_moe.image_kinds import is_image_file

PARTS = ("train", "val", "test")
_FOLDERS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_LIKE_PARTS = ("train", "val", "test", "dev")  # in the names of folders that are perhaps parts
_HIDDEN = ("thumbs.db", "desktop.ini", "__macosx", "@eadir")


@dataclasses.dataclass
class Listing:
    """Files, the label of each and, where the data says so, its part: ``"train"``, ``"val"``, ``"test"`` or None."""

    root: pathlib.Path
    paths: list[str] = dataclasses.field(default_factory=list)
    labels: list[str] = dataclasses.field(default_factory=list)
    parts: list[str | None] = dataclasses.field(default_factory=list)
    remarks: list[Remark] = dataclasses.field(default_factory=list)

    def add(self, path: str, label: str, part: str | None) -> None:
        """Adds a file."""
        self.paths.append(path)
        self.labels.append(unicodedata.normalize("NFC", label))  # macOS writes ü as two characters
        self.parts.append(part)

    def leave_out(self, path: str | os.PathLike[str], word: str) -> None:
        """Adds a remark on a file or folder that is not used."""
        self.remarks.append(Remark(self.name(path), word, used=False))

    def name(self, path: str | os.PathLike[str]) -> str:
        """The path below the root, printable."""
        return printable(os.path.relpath(path, self.root))


def list_files(data: str | os.PathLike[str]) -> Listing:
    """The files of ``data``: a folder with a folder for each class, perhaps below ``train``, ``val`` and ``test``, or a
    table.

    The class of an image is the first folder below; deeper ones belong to it. A single folder around all of these is
    entered. Hidden files are ignored; links are followed, each folder once.

    Args:
        data: a folder, or a ``.csv`` file with the columns ``path`` (from its own folder on), ``label`` and perhaps
            ``split`` (``train``, ``val`` or ``test``; empty: chosen here).

    Raises:
        FileNotFoundError: there is no such folder or file.
        ValueError: a folder in which classes and parts cannot be told apart, or that has none; a malformed table.
    """
    path = pathlib.Path(data)
    if path.is_dir():
        return _of_folder(path)
    if is_table(path) and path.is_file():
        return _of_table(path)
    error = ValueError if path.exists() else FileNotFoundError
    raise error(f"Expected DATA to be a folder with a folder for each class, or a .csv file. Received: {str(data)!r}")


def image_paths(data: str | os.PathLike[str]) -> list[str]:
    """The images of ``data``, whatever they show: of a folder and all below, or of a table, see ``list_files``.

    Hidden files are ignored, and what is no image by the ending of its name nor by its content.
    """
    path = pathlib.Path(data)
    if not path.is_dir():
        return list_files(path).paths
    return [file for file in _files(path, Listing(path), {_identity(path)}) if is_image_file(file)]


def folder_names(folder: pathlib.Path) -> list[str]:
    """Names of the visible folders in ``folder``, sorted."""
    return [entry.name for entry in _entries(folder, Listing(folder)) if entry.is_dir()]


def _of_folder(root: pathlib.Path) -> Listing:
    listing = Listing(root)
    root, visited = _unwrapped(root)
    if not _has_parts(root):
        _add_classes(root, None, listing, visited)
    else:
        for name, path in _folders(root, listing):
            if _enter(path, listing, visited):
                _add_classes(path, _FOLDERS[name.casefold()], listing, visited)
    return listing


def _unwrapped(root: pathlib.Path) -> tuple[pathlib.Path, set[tuple[int, int]]]:
    """``root``, or the folder below it, alone in each above, that holds those of the classes; and what was entered."""
    at, visited = root, set[tuple[int, int]]()
    while (names := folder_names(at)) and _identity(at) not in visited:
        visited.add(_identity(at))
        if len(names) > 1 or names[0].casefold() in _FOLDERS:
            return at, visited
        at = at / names[0]
    return root, {_identity(root)}


def _has_parts(root: pathlib.Path) -> bool:
    """Whether the folders below ``root`` are parts of the data, not classes."""
    names = folder_names(root)
    if not names:
        raise ValueError(f"Expected a folder for each class in {root}. Received: no folder in it")
    named = [name for name in names if name.casefold() in _FOLDERS]
    if not named or (len(named) == 1 and len(names) > 1):
        _check_are_classes(root, names)
        return False  # "train" beside "car" and "plane" is a class
    if len(named) < len(names):
        raise ValueError(
            f"{root}: expected folders of classes, or nothing but train, val and test. Received both: {named} and "
            f"{[name for name in names if name not in named][:5]}"
        )
    return True


def _check_are_classes(root: pathlib.Path, names: list[str]) -> None:
    """Refuses folders that hold the folders of classes: parts under names of their own."""
    if not all(any(word in name.casefold() for word in _LIKE_PARTS) for name in names):
        return
    held = []
    for name in names:
        visible = _entries(root / name, Listing(root))
        if not all(entry.is_dir() for entry in visible):
            return
        held.append({entry.name for entry in visible})
    common = sorted(set.intersection(*held))
    if len(common) > 1:
        raise ValueError(
            f"{root}: expected a folder for each class. Received: {names}, with the folders {common[:5]} in each. Call "
            "parts train, val and test."
        )


def _add_classes(folder: pathlib.Path, part: str | None, listing: Listing, visited: set[tuple[int, int]]) -> None:
    for label, path in _folders(folder, listing):
        before = len(listing.paths)
        if not _enter(path, listing, visited):
            continue
        for file in _files(path, listing, visited):
            listing.add(file, label, part)
        if len(listing.paths) == before:
            listing.leave_out(path, "the folder of a class is empty")


def _folders(folder: pathlib.Path, listing: Listing) -> list[tuple[str, pathlib.Path]]:
    """The visible folders in ``folder``, sorted; other files in it belong to no class."""
    folders = []
    for entry in _entries(folder, listing):
        if entry.is_dir():
            folders.append((entry.name, pathlib.Path(entry.path)))
        else:
            listing.leave_out(entry.path, "lies in no folder of a class")
    return folders


def _files(folder: pathlib.Path, listing: Listing, visited: set[tuple[int, int]]) -> Iterator[str]:
    """The paths of all visible files in ``folder`` and below, in an order that depends on their names alone."""
    pending = [folder]
    while pending:
        deeper = []
        for entry in _entries(pending.pop(), listing):
            if entry.is_dir():
                if _enter(pathlib.Path(entry.path), listing, visited):
                    deeper.append(pathlib.Path(entry.path))
            elif entry.is_file():
                yield entry.path
            else:
                listing.leave_out(entry.path, "a link to nowhere" if entry.is_symlink() else "is not a file")
        pending += reversed(deeper)


def _entries(folder: pathlib.Path, listing: Listing) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not is_hidden(e.name)), key=lambda entry: entry.name)
    except OSError as error:
        listing.leave_out(folder, f"the folder cannot be read: {error.strerror}")
        return []


def _enter(folder: pathlib.Path, listing: Listing, visited: set[tuple[int, int]]) -> bool:
    """Whether ``folder`` is entered for the first time; a link may lead back."""
    identity = _identity(folder)
    if identity in visited:
        listing.leave_out(folder, "a link to a folder that is read already")
        return False
    visited.add(identity)
    return True


def _identity(folder: pathlib.Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is the system's, not the user's."""
    return name.startswith(".") or name.casefold() in _HIDDEN


def _of_table(path: pathlib.Path) -> Listing:
    listing = Listing(path.parent)
    labels: dict[str, set[str]] = collections.defaultdict(set)
    parts: dict[str, set[str]] = collections.defaultdict(set)
    rows: dict[str, dict[str, typing.Any]] = {}
    for row in _rows(path):
        file = os.path.normpath(path.parent / row["path"])
        rows[file] = row
        labels[file].add(row["label"])
        parts[file].add(row["split"] or "none")
    if rows and not any(map(os.path.isfile, rows)):
        raise ValueError(
            f"{path}: expected paths from {str(path.parent)!r} on, or whole ones, with '/' between folders. Received: "
            f"{next(iter(rows.values()))['path']!r} and others, none of which is a file"
        )
    for file, row in rows.items():
        if len(labels[file]) > 1:
            listing.leave_out(file, f"the table has several labels for it: {', '.join(sorted(labels[file]))}")
        elif len(parts[file]) > 1:
            listing.leave_out(file, f"the table has it in several parts: {', '.join(sorted(parts[file]))}")
        elif not os.path.isfile(file):
            listing.leave_out(file, "there is no such file")
        else:
            listing.add(file, row["label"], row["split"])
    return listing


def _rows(path: pathlib.Path) -> list[dict[str, typing.Any]]:
    """The rows of a table, their values stripped; ``split`` is None where it is empty."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            delimiter = max(",;\t", key=header.count)
            file.seek(0)
            reader = csv.DictReader(file, delimiter=delimiter)
            columns = [name.strip().casefold() for name in reader.fieldnames or ()]
            if not {"path", "label"} <= set(columns):
                raise ValueError(f"expected the columns path, label and perhaps split. Received: {columns}")
            reader.fieldnames = columns
            return [_row(row, number) for number, row in enumerate(reader, start=2)]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} is not a table of images: {error}") from error


def _row(row: dict[str, typing.Any], number: int) -> dict[str, typing.Any]:
    values = {name: (row.get(name) or "").strip() for name in ("path", "label", "split")}
    if not values["path"] or not values["label"]:
        raise ValueError(f"expected a path and a label in row {number}. Received: {values}")
    if values["split"] and values["split"].casefold() not in _FOLDERS:
        raise ValueError(f"expected one of {PARTS} as split in row {number}. Received: {values['split']!r}")
    return {**values, "split": _FOLDERS.get(values["split"].casefold())}
