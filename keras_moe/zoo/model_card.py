"""Model cards: what a published model is, where it comes from and what was measured.

A card is ``card.toml`` in a folder named like the model; labels of classes, if any, stand beside it in ``labels.txt``,
one per line. Reading is strict: a card that says too little, too much or something else is refused, with every problem
listed.
"""

import dataclasses
import inspect
import os
import pathlib
import re
import tomllib

from keras_moe.files import write_bytes
from keras_moe.labels import from_lines, is_label, to_lines
from keras_moe.zoo import toml

TASKS = ("classification", "segmentation", "super-resolution")
WEIGHTS = "weights.safetensors"

_NAME = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9_.-]{0,99}")


def check_name(name: object) -> None:
    """Raises ValueError where ``name``, of a model or a file, could be anything but one plain name."""
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ValueError(f"Expected a name of a-z, 0-9, '_', '-' and single '.', at most 100. Received: {name!r}")


@dataclasses.dataclass(frozen=True)
class File:
    """A published file, pinned. Raises ValueError for a name that is a path, an empty file or a malformed sha256."""

    name: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.size < 1 or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"Expected size >= 1 and 64 lower-case hex digits. Received: {self.size}, {self.sha256!r}")


@dataclasses.dataclass(frozen=True)
class Metric:
    """A measured number: ``value`` on ``split``, and what each seed gave; ``unit`` is empty for a share of one."""

    name: str
    value: float
    split: str
    seeds: tuple[int, ...]
    per_seed: tuple[float, ...]
    note: str = ""
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.seeds or len(self.seeds) != len(self.per_seed):
            raise ValueError(f"Expected one number per seed. Received: seeds={self.seeds}, per_seed={self.per_seed}")

    def text(self, value: float | None = None) -> str:
        """``value`` (None: the metric's own) as people read it: ``"59.43%"``, ``"27.10 dB"``."""
        value = self.value if value is None else value
        return f"{value:.2f} {self.unit}" if self.unit else f"{value:.2%}"


@dataclasses.dataclass(frozen=True)
class Data:
    """The data the weights were trained on."""

    name: str
    license: str
    source: str
    url: str


@dataclasses.dataclass(frozen=True)
class Input:
    """What the model takes: ``(height, width, channels)``, the range of its values and what the channels are."""

    shape: tuple[int, ...]
    range: str
    channels: str


@dataclasses.dataclass(frozen=True)
class Card:
    """One published model.

    ``recipe`` names the module that made it, ``model`` a class of ``keras_moe.models``, and ``config`` holds its
    keyword arguments; ``classes`` are the labels in the order of the outputs, none for super-resolution.
    ``macs_total`` counts the whole network, all experts, on one input of ``input.shape``; ``macs_executed`` is the mean
    per input, measured. ``metrics`` starts with the one that the model is known by. ``baseline`` names the dense model
    to compare with, or is empty.

    Raises:
        ValueError: values that contradict each other; it lists them all.
    """

    name: str
    system: str
    task: str
    summary: str
    paper: str
    paper_url: str
    license: str
    model: str
    params: int
    macs_total: int
    macs_executed: float
    recipe: str
    recipe_note: str
    data: Data
    input: Input
    config: dict
    metrics: tuple[Metric, ...]
    files: tuple[File, ...]
    classes: tuple[str, ...]
    baseline: str = ""

    def __post_init__(self) -> None:
        problems = _contradictions(self)
        if problems:
            raise ValueError("; ".join(problems))

    def file(self, name: str) -> File:
        """The ``File`` called ``name``. Raises ValueError where the card has none."""
        for file in self.files:
            if file.name == name:
                return file
        raise ValueError(f"{self.name} has no file {name!r}. Expected one of {[f.name for f in self.files]}")


def model_arguments(model: str) -> list[str]:
    """Names of the keyword arguments of a class of ``keras_moe.models``; none where there is no such class."""
    from keras_moe import models

    cls = getattr(models, model, None)
    return list(inspect.signature(cls).parameters) if inspect.isclass(cls) and cls is not models.MoEModel else []


def read_card(path: str | os.PathLike, check_model: bool = True) -> Card:
    """The ``Card`` in the file ``path``, ``<name>/card.toml``.

    Args:
        path: of the file; ``labels.txt`` beside it is read too.
        check_model: bool. False: whether the class that ``model`` names takes ``config`` is not looked at; the classes
            need Keras.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not TOML, a name that is not the folder's, keys missing, unknown or of another type, or values that
            do not go together. One error lists everything.
    """
    path = pathlib.Path(path)
    text, labels = path.read_bytes(), path.parent / "labels.txt"
    return _parse(text, labels.read_bytes() if labels.exists() else b"", path, check_model)


def write_card(card: Card, path: str | os.PathLike) -> None:
    """Writes ``card`` to ``path`` and its labels beside it, so that ``read_card`` gives it back.

    Raises:
        ValueError: a card that could not be read back; nothing is written.
    """
    path, values = pathlib.Path(path), dataclasses.asdict(card)
    labels = to_lines(values.pop("classes"))
    values["config"] = dict(sorted(card.config.items()))
    text = toml.toml(values).encode()
    _parse(text, labels, path)
    if labels:
        write_bytes(path.parent / "labels.txt", labels + b"\n")
    write_bytes(path, text)


def _contradictions(card: Card) -> list[str]:
    names = [file.name for file in card.files]
    rules = {
        "name and recipe must be plain names": _NAME.fullmatch(card.name) and _NAME.fullmatch(card.recipe),
        f"task must be one of {TASKS}": card.task in TASKS,
        "config.classes must be the number of labels": card.config.get("classes", len(card.classes))
        == len(card.classes),
        "input.shape must be (height, width, channels)": len(card.input.shape) == 3 and min(card.input.shape) > 0,
        "macs must be 0 < macs_executed <= macs_total": 0 < card.macs_executed <= card.macs_total,
        "params must be positive": card.params > 0,
        f"files must be distinct and hold {WEIGHTS}": len(set(names)) == len(names) and WEIGHTS in names,
        "a task of classes needs labels, another has none": bool(card.classes) == (card.task != "super-resolution"),
        "labels must be distinct, each one printable line": len(set(card.classes)) == len(card.classes)
        and all(map(is_label, card.classes)),
    }
    return [rule for rule, holds in rules.items() if not holds]


def _misfits(card: Card) -> list[str]:
    """What keeps the card's config from its model."""
    arguments = set(model_arguments(card.model)) - {"weights", "include_top"}
    if not arguments:
        return ["model must be a class of keras_moe.models"]
    return [] if card.config.keys() <= arguments else [f"config may only hold {sorted(arguments)}"]


def _parse(text: bytes, labels: bytes, path: pathlib.Path, check_model: bool = True) -> Card:
    try:
        table = tomllib.loads(text.decode())
        classes = list(from_lines(labels))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not TOML, or its labels are not text: {error}") from error
    problems = []
    if table.get("name") != path.parent.name:
        problems.append(f"name: expected the folder's, {path.parent.name!r}. Received: {table.get('name')!r}")
    if "classes" in table:
        problems.append("classes: unknown key; they stand in labels.txt")
    card = toml.read(Card, {**table, "classes": classes}, problems)
    if check_model and card is not None:
        problems += _misfits(card)
    if problems:
        raise ValueError(f"{path} is not a model card:\n  " + "\n  ".join(problems))
    return card
