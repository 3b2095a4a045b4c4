"""Hypothesis strategies for what strangers send: sound bytes, damaged; cards with other values; trees of odd files."""

import contextlib
import json
import os
import re
import tempfile

from hypothesis import strategies as st

_BORDERS = [n.to_bytes(k, order) for k in (2, 4, 8) for n in (0, 1, 2 ** (8 * k - 1), 2 ** (8 * k) - 1)
            for order in ("little", "big")]  # fmt: skip
_LENGTHS = st.sampled_from((0, 1, 1, 2, 4, 8, 1 << 20))
_CHANGES = st.lists(
    st.tuples(st.integers(0, 1 << 16), _LENGTHS, st.binary(max_size=8) | st.sampled_from(_BORDERS)),
    min_size=1,
    max_size=5,
)


def damaged(*seeds):
    """Bytes of one of ``seeds`` in which a few places were overwritten, cut out or grew."""
    return st.builds(_damage, st.sampled_from(seeds), _CHANGES)


def _damage(seed, changes):
    data = bytearray(seed)
    for place, length, inserted in changes:
        at = place % (len(data) + 1)
        data[at : at + length] = inserted
    return bytes(data)


WORDS = st.sampled_from([
    "", "a", "HydraNet", "Patcher", "ClassSR", "UNet", "resnet8", "resnet20", "softmax", "classification",
    "segmentation", "super-resolution", "../x", "/etc/passwd", "a\x00b", "é", "x" * 200,
])  # fmt: skip
_NUMBERS = st.integers(-2, 300) | st.sampled_from([8192, 8193, 2**31, 2**63, -(2**63), 10**30]) | st.floats()
VALUES = st.recursive(
    _NUMBERS | st.booleans() | WORDS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=5,
)


def edited(text, keys=r"\w+"):
    """A card's ``text`` in which the values of one to three lines ``key = value`` are others, or the lines are gone."""
    lines = text.splitlines()
    places = [i for i, line in enumerate(lines) if re.match(rf"(?:{keys}) = ", line)]
    edits = st.lists(st.tuples(st.sampled_from(places), st.none() | VALUES.map(_literal)), min_size=1, max_size=3)
    return st.builds(_edit, st.just(tuple(lines)), edits)


def _edit(lines, edits):
    lines = list(lines)
    for place, value in edits:
        lines[place] = "" if value is None else f"{lines[place].partition(' = ')[0]} = {value}"
    return "\n".join(lines).encode(errors="surrogatepass")


def _literal(value):
    """``value`` as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return repr(value) if type(value) in (int, float) else json.dumps(value)


_ODD_NAMES = [
    "a" * 300, "a/" * 3000, "hf://a/b", "hf://a/b@c", "hf://../..", "hf://a/b@../..", "hf://-/-", "C:\\x", "CON", "..",
]  # fmt: skip
NAMES = (
    st.text(st.sampled_from("abz09AZ_-. /\\@:~\0\n\x1bé\ud800"), max_size=12)
    | st.text(max_size=20)
    | st.sampled_from(_ODD_NAMES)
)

_FOLDERS = ["train", "val", "test", "Test", "a", "b", "ü", "u\u0308", "\x1b[31m", ".h", "images", "masks"]
_FILES = ["1.png", "2.png", "3.jpg", "x.csv", "y.txt", "Thumbs.db", "\udcff.png"]
_KINDS = ["picture", "wide", "grey", "damaged", "empty", "text", "link", "circle", "pipe", "folder"]
TREES = st.lists(
    st.tuples(st.lists(st.sampled_from(_FOLDERS), max_size=3), st.sampled_from(_FILES), st.sampled_from(_KINDS)),
    max_size=12,
)


@contextlib.contextmanager
def planted(tree, contents):
    """A folder with the files of a drawn ``tree``; ``contents``: kind -> bytes."""
    with empty_folder() as root:
        for folders, name, kind in tree:
            with contextlib.suppress(OSError):  # something of that name is there
                os.makedirs(os.path.join(root, *folders), exist_ok=True)
                _plant(root, os.path.join(root, *folders, name), kind, contents)
        yield root


def _plant(root, path, kind, contents):
    if kind in contents:
        with open(path, "xb") as file:
            file.write(contents[kind])
    elif kind == "link":
        os.symlink("nowhere", path)
    elif kind == "circle":
        os.symlink(root, path)
    else:
        {"pipe": os.mkfifo, "folder": os.mkdir}[kind](path)


@contextlib.contextmanager
def empty_folder():
    """A new folder, where this process is meanwhile."""
    with tempfile.TemporaryDirectory() as root, contextlib.chdir(root):
        yield root


@contextlib.contextmanager
def refusal(*errors):
    """Passes over the errors that may be raised, which must say something."""
    try:
        yield
    except errors as error:
        if not str(error):
            raise
