"""Images in files, with a label and a part of the data for each."""

import collections
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable

import numpy as np

from keras_moe.checks import flag, integer, number
from keras_moe.datasets.files.inspection import NO_IMAGE, Facts, inspect_files
from keras_moe.datasets.files.listing import PARTS, Listing, list_files
from keras_moe.datasets.files.report import Remark, summary
from keras_moe.datasets.files.splitting import groups_of, same_bytes, split_files
from keras_moe.files import printable, write_bytes
from keras_moe.labels import is_label

SPLIT_THEM = "split_look_alikes=True, --split-look-alikes parts them"


@dataclasses.dataclass(frozen=True)
class LabelledFiles:
    """n image files that were opened once, their labels, and the part of the data that each belongs to.

    Args:
        paths: n str, of the files.
        labels: int64 ``(n,)``.
        parts: array of str ``(n,)``: ``"train"``, ``"val"`` or ``"test"``.
        classes: names in the order of the labels.
        source: str, of the whole.
        root: str, the folder from which on files are named.
        remarks: ``Remark`` of every file that was left out or is odd.
        digest: str, of the content of all files in their order, their labels and parts; their places do not count.

    Example:
        >>> from PIL import Image
        >>> import os
        >>> for label in ("cat", "dog"):
        ...     os.makedirs(f"pets/{label}")
        ...     for i in range(4):
        ...         noise = np.random.default_rng([i, len(label), ord(label[0])]).integers(0, 256, (40, 40, 3), "uint8")
        ...         Image.fromarray(noise).save(f"pets/{label}/{i}.png")
        >>> files = datasets.read_labelled_files("pets")
        >>> files.classes, files.labels[files.rows("test")]
        (('cat', 'dog'), array([0, 1]))
    """

    paths: tuple[str, ...]
    labels: np.ndarray
    parts: np.ndarray
    classes: tuple[str, ...]
    source: str
    root: str
    remarks: tuple[Remark, ...]
    digest: str

    def rows(self, part: str) -> np.ndarray:
        """Indices, int ``(m,)``, of the files of a part.

        Example:
            >>> labels, parts = np.array([0, 0, 1]), np.array(["train", "test", "train"])
            >>> paths = "a.png", "b.png", "c.png"
            >>> files = datasets.LabelledFiles(paths, labels, parts, ("cat", "dog"), "pets", "pets", (), "")
            >>> files.rows("train")
            array([0, 2])
        """
        return np.flatnonzero(self.parts == part)

    def name(self, path: str) -> str:
        """A file's path from ``root`` on, printable.

        Example:
            >>> files = datasets.LabelledFiles((), np.array([]), np.array([]), (), "pets", "pets", (), "")
            >>> files.name("pets/cat/a.png")
            'cat/a.png'
        """
        return printable(os.path.relpath(path, self.root))

    def text(self) -> str:
        """A summary in lines: the number of files, and the remarks on them.

        Example:
            >>> labels, parts = np.array([0, 1]), np.array(["train", "test"])
            >>> paths = "a.png", "b.png"
            >>> files = datasets.LabelledFiles(paths, labels, parts, ("cat", "dog"), "pets", "pets", (), "")
            >>> files.text()
            '2 images of 2 classes in pets: 1 train, 0 val, 1 test'
        """
        counts = ", ".join(f"{len(self.rows(part)):,} {part}" for part in PARTS)
        lines = [f"{len(self.paths):,} images of {len(self.classes)} classes in {self.source}: {counts}"]
        return "\n".join([*lines, *summary(self.remarks)])

    def write_remarks(self, path: str | os.PathLike[str]) -> None:
        """Writes every remark as JSON.

        Example:
            >>> import json, pathlib
            >>> odd = datasets.Remark("cat/a.png", "the same file twice", used=True)
            >>> files = datasets.LabelledFiles((), np.array([]), np.array([]), (), "pets", "pets", (odd,), "")
            >>> files.write_remarks("remarks.json")
            >>> json.loads(pathlib.Path("remarks.json").read_text())
            [{'path': 'cat/a.png', 'word': 'the same file twice', 'used': True}]
        """
        write_bytes(path, (json.dumps([dataclasses.asdict(r) for r in self.remarks], indent=1) + "\n").encode())


def read_labelled_files(
    data: str | os.PathLike[str],
    *,
    val: float = 0.15,
    test: float = 0.15,
    most_unreadable: float = 0.1,
    split_look_alikes: bool = False,
    seed: int = 0,
    track: Callable[[Iterable[int], int], Iterable[int]] = lambda steps, total: steps,
) -> LabelledFiles:
    """Finds, opens and splits the images of ``data``.

    Every file is opened once: what is no image or cannot be read is named and left out, what is odd is named and used.
    Where the data has no split, or lacks a part, files are drawn class by class; pictures that are equal or look the
    same stay together.

    Args:
        data: a folder with a folder for each class, perhaps below ``train``, ``val`` and ``test``; or a ``.csv`` file
            with the columns ``path``, ``label`` and perhaps ``split``.
        val, test: floats in (0, 1), the shares drawn for validation and for the test.
        most_unreadable: float in [0, 1], the share of unreadable images from which on nothing is read. What is no image
            by the ending of its name nor by its content is passed over, and does not count.
        split_look_alikes: bool. True: pictures that look the same may come into different parts, as those of a camera
            that does not move; equal files stay together all the same.
        seed: int, of the split.
        track: wraps the iteration over ``total`` steps, to show progress.

    Returns:
        ``LabelledFiles``.

    Raises:
        FileNotFoundError: there is no such folder or file.
        ValueError: no classes, or only one, that has images to learn from; too many unreadable files; a label that is
            no printable line; a malformed table.

    Example:
        >>> datasets.read_labelled_files("nowhere")
        Traceback (most recent call last):
        ...
        FileNotFoundError: Expected DATA to be a folder with a folder for each class, or a .csv file. Received: ...
    """
    owner = "read_labelled_files"
    shares = {"val": number(owner, "val", val, above=0, below=1), "test": number(owner, "test", test, above=0, below=1)}
    most_unreadable = number(owner, "most_unreadable", most_unreadable, 0, 1)
    split_look_alikes = flag(owner, "split_look_alikes", split_look_alikes)
    seed = integer(owner, "seed", seed, 0)
    listing = list_files(data)
    _check_learned(listing)
    facts = _readable(listing, inspect_files(listing.paths, track), most_unreadable)
    _check_labels(listing)
    classes, labels = np.unique(np.array(listing.labels, object), return_inverse=True)
    groups = groups_of([fact._replace(look=fact.digest) for fact in facts] if split_look_alikes else facts)
    parts = np.array([part or "" for part in listing.parts], "U5")
    parts = split_files(labels.astype("int64"), groups, parts, shares, seed)
    _remark_duplicates(listing, facts, groups, labels, parts)
    return _learned_classes(listing, facts, groups, classes.tolist(), labels.astype("int64"), parts, printable(data))


def _check_learned(listing: Listing) -> None:
    given = sorted({part for part in listing.parts if part})
    if given and "train" not in given and None not in listing.parts:
        raise ValueError(f"{listing.root}: expected a part 'train' beside {given}. Received: none to learn from")


def _readable(listing: Listing, facts: list[Facts], most_unreadable: float) -> list[Facts]:
    """Takes unreadable files and those that are no images out of ``listing``; the facts of the others."""
    rows = [row for row, fact in enumerate(facts) if fact.digest is not None]
    for row, fact in enumerate(facts):
        if fact.word:
            used = fact.digest is not None
            listing.remarks.append(Remark(listing.name(listing.paths[row]), fact.word, used))
    images = sum(fact.is_image for fact in facts)
    unreadable = images - len(rows)
    if unreadable > most_unreadable * images:
        bad = [(path, fact.word) for path, fact in zip(listing.paths, facts, strict=True) if fact.digest is None]
        lines = [str(Remark(listing.name(path), word, used=False)) for path, word in bad if word != NO_IMAGE][:10]
        raise ValueError(
            f"{unreadable:,} of {images:,} images in {printable(listing.root)} cannot be read, more than "
            f"{most_unreadable:.0%}. Remove them, or allow more (most_unreadable=, --most-unreadable).\n  "
            + "\n  ".join(lines)
        )
    listing.paths = [listing.paths[row] for row in rows]
    listing.labels = [listing.labels[row] for row in rows]
    listing.parts = [listing.parts[row] for row in rows]
    return [facts[row] for row in rows]


def _check_labels(listing: Listing) -> None:
    bad = sorted({label for label in listing.labels if not is_label(label)})
    if bad:
        names = [label.encode(errors="backslashreplace").decode() for label in bad[:5]]
        raise ValueError(f"Expected names of classes that are printable lines. Received: {names}. Rename them.")


def _remark_duplicates(
    listing: Listing, facts: list[Facts], groups: np.ndarray, labels: np.ndarray, parts: np.ndarray
) -> None:
    name = [listing.name(path) for path in listing.paths]
    for rows in same_bytes(facts):
        word = "the same file under two labels" if len(set(labels[rows].tolist())) > 1 else "the same file twice"
        listing.remarks += [Remark(name[row], f"{word}: {name[rows[0]]}", used=True) for row in rows[1:]]
    by_group: dict[int, list[int]] = collections.defaultdict(list)
    for row, group in enumerate(groups.tolist()):
        by_group[group].append(row)
    for rows in by_group.values():
        learned = [row for row in rows if parts[row] == "train"]
        others = [row for row in rows if parts[row] != "train"]
        if learned and others:  # the data's own split
            word = f"looks like a picture that is learned from, which flatters the test: {name[learned[0]]}"
            listing.remarks += [Remark(name[row], word, used=True) for row in others]


def _learned_classes(
    listing: Listing,
    facts: list[Facts],
    groups: np.ndarray,
    classes: list[str],
    labels: np.ndarray,
    parts: np.ndarray,
    source: str,
) -> LabelledFiles:
    """Drops classes without training images and numbers the others."""
    learned = np.isin(np.arange(len(classes)), labels[parts == "train"])
    for label in np.flatnonzero(~learned):
        count = int(np.sum(labels == label))
        word = f"a class without an image to learn from: its {count} images are left out"
        listing.remarks.append(Remark(classes[label], word, used=False))
    if learned.sum() < 2:
        names = [name for name, has in zip(classes, learned, strict=True) if has]
        raise ValueError(
            f"Expected two classes or more with images to learn from in {source}. Received: {names or 'none'}"
        )
    for label in np.flatnonzero(learned & ~np.isin(np.arange(len(classes)), labels[parts == "test"])):
        rows = np.flatnonzero(labels == label)
        alike = len(rows) > 1 and len(np.unique(groups[rows])) == 1
        why = f", for its images look alike and stay together ({SPLIT_THEM})" if alike else ""
        word = f"a class without a test image{why}: it is learned, and not measured"
        listing.remarks.append(Remark(classes[label], word, used=True))
    rows = np.flatnonzero(learned[labels])
    number_of = np.cumsum(learned) - 1
    return LabelledFiles(
        tuple(listing.paths[row] for row in rows),
        number_of[labels[rows]],
        parts[rows],
        tuple(name for name, has in zip(classes, learned, strict=True) if has),
        source,
        os.fspath(listing.root),
        tuple(listing.remarks),
        _digest([facts[row] for row in rows], labels[rows], parts[rows]),
    )


def _digest(facts: list[Facts], labels: np.ndarray, parts: np.ndarray) -> str:
    text = [
        [fact.digest.hex() if fact.digest else "", *row]
        for fact, *row in zip(facts, labels.tolist(), parts.tolist(), strict=True)
    ]
    return hashlib.sha256(json.dumps(text).encode()).hexdigest()
