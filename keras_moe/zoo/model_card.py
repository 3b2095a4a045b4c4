"""Model cards: the description, the origin and the measured numbers of a published model.

A card is ``card.toml`` in a folder named like the model; labels of classes, if any, stand beside it in ``labels.txt``,
one per line. Reading is strict: a card with a missing, unknown or malformed entry is refused, and the error lists all
of them.
"""

import dataclasses
import inspect
import os
import pathlib
import re
import tomllib
import typing

from keras_moe.files import write_bytes
from keras_moe.labels import from_lines, is_label, to_lines
from keras_moe.zoo import toml

TASKS = ("classification", "segmentation", "super-resolution")
WEIGHTS = "weights.safetensors"

_NAME = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9_.-]{0,99}")


def check_name(name: object) -> None:
    """Raises ValueError if ``name``, of a model or a file, is not one plain name, a path for instance."""
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ValueError(f"Expected a name of a-z, 0-9, '_', '-' and single '.', at most 100. Received: {name!r}")


@dataclasses.dataclass(frozen=True)
class File:
    """A published file, pinned by its size in bytes and its sha256.

    Raises:
        ValueError: a name that is a path, an empty file or a malformed sha256.

    Example:
        >>> file = zoo.card("test_hydranet").file("weights.safetensors")
        >>> file.name, file.size > 0, len(file.sha256)
        ('weights.safetensors', True, 64)
    """

    name: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.size < 1 or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"Expected size >= 1 and 64 lower-case hex digits. Received: {self.size}, {self.sha256!r}")


@dataclasses.dataclass(frozen=True)
class Metric:
    """A measured number: its ``value`` on ``split`` and that of each seed; ``unit`` is empty for a share of one.

    Raises:
        ValueError: not one number per seed.

    Example:
        >>> zoo.Metric("accuracy", 0.875, "test", seeds=(0, 1), per_seed=(0.85, 0.9)).text()
        '87.50%'
    """

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
        """A ``value`` of this metric (None: its own) in print: ``"59.43%"``, ``"27.10 dB"``."""
        value = self.value if value is None else value
        return f"{value:.2f} {self.unit}" if self.unit else f"{value:.2%}"


@dataclasses.dataclass(frozen=True)
class Data:
    """The training data of published weights: name, license, source and address.

    Example:
        >>> zoo.card("test_hydranet").data.license
        'CC BY 4.0'
    """

    name: str
    license: str
    source: str
    url: str


@dataclasses.dataclass(frozen=True)
class Input:
    """The input of a model: its shape ``(height, width, channels)``, the range of its values, its channels in words.

    Example:
        >>> zoo.card("test_hydranet").input
        Input(shape=(8, 8, 1), range='[0, 255]', channels='grey, white on black')
    """

    shape: tuple[int, ...]
    range: str
    channels: str


@dataclasses.dataclass(frozen=True)
class Card:
    """One published model.

    ``recipe`` names the module that made it, ``model`` a class of ``keras_moe.models``, and ``config`` holds its
    keyword arguments; ``classes`` are the labels in the order of the outputs, none for super-resolution.
    ``macs_total`` counts the whole network, all experts, on one input of ``input.shape``; ``macs_executed`` is the
    measured mean per input. The first of ``metrics`` is the headline number. ``baseline`` names the dense model for
    comparison, or is empty.

    Raises:
        ValueError: values that contradict each other; the error lists all of them.

    Example:
        >>> card = zoo.card("test_hydranet")
        >>> card.model, card.config["num_experts"], card.metrics[0].name
        ('HydraNet', 4, 'accuracy')
        >>> card.macs_executed < card.macs_total
        True
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
    config: dict[str, typing.Any]
    metrics: tuple[Metric, ...]
    files: tuple[File, ...]
    classes: tuple[str, ...]
    baseline: str = ""

    def __post_init__(self) -> None:
        problems = _contradictions(self)
        if problems:
            raise ValueError("; ".join(problems))

    def file(self, name: str) -> File:
        """The ``File`` called ``name``. Raises ValueError if the card has none."""
        for file in self.files:
            if file.name == name:
                return file
        raise ValueError(f"{self.name} has no file {name!r}. Expected one of {[f.name for f in self.files]}")


def model_arguments(model: str) -> list[str]:
    """Names of the keyword arguments of a class of ``keras_moe.models``; none for an unknown class."""
    from keras_moe import models

    cls = getattr(models, model, None)
    return list(inspect.signature(cls).parameters) if inspect.isclass(cls) and cls is not models.MoEModel else []


def read_card(path: str | os.PathLike[str], check_model: bool = True) -> Card:
    """The ``Card`` in the file ``path``, ``<name>/card.toml``.

    Args:
        path: of the file; ``labels.txt`` beside it is read too.
        check_model: bool. False: ``config`` is not compared with the arguments of the class, which takes Keras.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not TOML, a name that is not the folder's, keys missing, unknown or of another type, or values that
            contradict each other. One error lists everything.
    """
    path = pathlib.Path(path)
    text, labels = path.read_bytes(), path.parent / "labels.txt"
    return _parse(text, labels.read_bytes() if labels.exists() else b"", path, check_model)


def write_card(card: Card, path: str | os.PathLike[str]) -> None:
    """Writes ``card`` to ``path`` and its labels beside it, for ``read_card``.

    Raises:
        ValueError: a card that ``read_card`` would refuse; nothing is written.
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
    """The contradictions between a card's config and the arguments of its model."""
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
    problems: list[str] = []
    if table.get("name") != path.parent.name:
        problems.append(f"name: expected the folder's, {path.parent.name!r}. Received: {table.get('name')!r}")
    if "classes" in table:
        problems.append("classes: unknown key; they stand in labels.txt")
    card: Card | None = toml.read(Card, {**table, "classes": classes}, problems)
    if check_model and card is not None:
        problems += _misfits(card)
    if card is None or problems:
        raise ValueError(f"{path} is not a model card:\n  " + "\n  ".join(problems))
    return card
