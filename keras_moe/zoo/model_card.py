"""Model cards: the description, the origin and the measured numbers of a model.

A card is ``card.toml`` in the model's folder; labels of classes, if any, stand beside it in ``labels.txt``, one per
line. Reading is strict: a card with a missing, unknown or malformed entry is refused, and the error lists all of them.
"""

import dataclasses
import inspect
import re
import tomllib
import typing

from keras_moe.labels import from_lines, is_label, to_lines
from keras_moe.zoo import toml

TASKS = ("classification", "segmentation", "super-resolution")
CARD, LABELS, WEIGHTS = "card.toml", "labels.txt", "weights.safetensors"
MOST = {CARD: 1 << 20, LABELS: 1 << 24}  # bytes that are read; ImageNet's labels are 20,000

_MOST_OF_A_FILE = 1 << 32
_MOST_OF_AN_ARGUMENT, _MOST_EXPERTS, _MOST_ITEMS = 8192, 256, 100  # beyond what any sensible model has

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
        if not 1 <= self.size <= _MOST_OF_A_FILE or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(
                "Expected a size of 1 byte to 4 GiB and 64 lower-case hex digits. "
                f"Received: {self.size}, {self.sha256!r}"
            )


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
        """A ``value`` of this metric (None: its own) in print: ``"59.43%"``, ``"27.10 dB"``.

        Example:
            >>> metric = zoo.Metric("psnr", 27.1, "test", seeds=(0,), per_seed=(27.1,), unit="dB")
            >>> metric.text(), metric.text(28)
            ('27.10 dB', '28.00 dB')
        """
        value = self.value if value is None else value
        return f"{value:.2f} {self.unit}" if self.unit else f"{value:.2%}"


@dataclasses.dataclass(frozen=True)
class Data:
    """The training data of a model: name, license, source and address, each empty where nothing is said.

    Example:
        >>> zoo.card("test_hydranet").data.license
        'CC BY 4.0'
    """

    name: str = ""
    license: str = ""
    source: str = ""
    url: str = ""


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
class Setting:
    """A setting changed after construction: the ``value`` of a layer's ``attribute``.

    ``layer`` is the layer's index in the model and its class, such as ``"5 TopKGate"``.

    Example:
        >>> zoo.Setting("5 TopKGate", "top_k", 1).value
        1
    """

    layer: str
    attribute: str
    value: bool | int | float | str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """One model.

    ``model`` names a class of ``keras_moe.models``, ``config`` holds its keyword arguments and ``settings`` what was
    set on its layers later; ``classes`` are the labels in the order of the outputs, none for super-resolution.
    ``macs_total`` counts the whole network, all experts, on one input of ``input.shape``; ``macs_executed`` is the
    measured mean per input. The first of ``metrics`` is the headline number. ``recipe`` names the module that made the
    model, ``baseline`` the dense model for comparison. A text with a default is empty where nothing is said.

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
    system: str = ""
    task: str
    summary: str = ""
    paper: str = ""
    paper_url: str = ""
    license: str = ""
    model: str
    params: int
    macs_total: int
    macs_executed: float
    recipe: str = ""
    recipe_note: str = ""
    data: Data = Data()
    input: Input
    config: dict[str, typing.Any]
    settings: tuple[Setting, ...] = ()
    metrics: tuple[Metric, ...] = ()
    files: tuple[File, ...]
    classes: tuple[str, ...]
    baseline: str = ""

    def __post_init__(self) -> None:
        problems = _contradictions(self)
        if problems:
            raise ValueError("; ".join(problems))

    def file(self, name: str) -> File:
        """The ``File`` called ``name``. Raises ValueError if the card has none.

        Example:
            >>> zoo.card("test_hydranet").file("weights.safetensors").name
            'weights.safetensors'
        """
        for file in self.files:
            if file.name == name:
                return file
        raise ValueError(f"{self.name} has no file {name!r}. Expected one of {[f.name for f in self.files]}")


def source_of(config: dict[str, typing.Any]) -> str | None:
    """``"classifier"`` or ``"network"``, if that is what a model is made from by its class's ``from_…``; or None."""
    return next((name for name in ("classifier", "network") if name in config), None)


def model_arguments(model: str, source: str | None = None) -> list[str]:
    """Names of the keyword arguments of a class of ``keras_moe.models``, or of its ``from_<source>``; [] for others."""
    from keras_moe import models

    cls = getattr(models, model, None)
    if not inspect.isclass(cls) or cls is models.MoEModel:
        return []
    constructor = cls if source is None else getattr(cls, f"from_{source}", None)
    return [] if constructor is None else list(inspect.signature(constructor).parameters)


def parse_card(text: bytes, labels: bytes, where: object, name: str | None = None, check_model: bool = True) -> Card:
    """The ``Card`` in the content of ``card.toml`` and ``labels.txt``.

    Args:
        text, labels: bytes of the two files; the latter empty where there is none.
        where: what errors call the card.
        name: the name that the card must have; None: any.
        check_model: bool. False: ``config`` is not compared with the arguments of the class, which takes Keras.

    Raises:
        ValueError: not TOML, another name, keys missing, unknown or of another type, or values that contradict each
            other. One error lists everything.
    """
    try:
        table = tomllib.loads(text.decode())
        classes = list(from_lines(labels))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not TOML, or its labels are not text: {error}") from error
    problems: list[str] = []
    if name is not None and table.get("name") != name:
        problems.append(f"name: expected the folder's, {name!r}. Received: {table.get('name')!r}")
    if "classes" in table:
        problems.append("classes: unknown key; they stand in labels.txt")
    card: Card | None = toml.read(Card, {**table, "classes": classes}, problems)
    if check_model and card is not None:
        problems += _misfits(card.model, card.config)
    if card is None or problems:
        raise ValueError(f"{where} is not a model card:\n  " + "\n  ".join(problems))
    return card


def card_files(card: Card) -> dict[str, bytes]:
    """Name -> content of the files that ``parse_card`` reads: ``card.toml`` and, with classes, ``labels.txt``.

    Raises:
        ValueError: a card that ``parse_card`` would refuse.
    """
    optional = [field for field in dataclasses.fields(Card) if field.default is not dataclasses.MISSING]
    unsaid = [field.name for field in optional if getattr(card, field.name) == field.default]
    values = {key: value for key, value in dataclasses.asdict(card).items() if key not in unsaid}
    labels = to_lines(values.pop("classes"))
    values["config"] = dict(sorted(card.config.items()))
    text = toml.toml(values).encode()
    parse_card(text, labels, f"The card of {card.name!r}")
    return {CARD: text} | ({LABELS: labels + b"\n"} if labels else {})


def _contradictions(card: Card) -> list[str]:
    names = [file.name for file in card.files]
    rules = {
        "name, recipe and baseline must be plain names": _NAME.fullmatch(card.name)
        and all(_NAME.fullmatch(name) for name in (card.recipe, card.baseline) if name),
        f"task must be one of {TASKS}": card.task in TASKS,
        f"config.classes must be the number of labels in {LABELS}, {len(card.classes)}": card.config.get(
            "classes", len(card.classes)
        )
        == len(card.classes),
        f"input.shape must be (height, width, channels), each in 1…{_MOST_OF_AN_ARGUMENT}": len(card.input.shape) == 3
        and 0 < min(card.input.shape) <= max(card.input.shape) <= _MOST_OF_AN_ARGUMENT,
        f"config may hold texts and numbers, at most {_MOST_OF_AN_ARGUMENT}": _is_plain(card.config),
        f"config.num_experts must be at most {_MOST_EXPERTS}": _is_plain(
            card.config.get("num_experts", 0), _MOST_EXPERTS
        ),
        "config.input_shape must be input.shape": card.config.get("input_shape", card.input.shape) == card.input.shape,
        "macs must be 0 < macs_executed <= macs_total": 0 < card.macs_executed <= card.macs_total,
        "params must be positive": card.params > 0,
        f"files must be distinct and hold {WEIGHTS}": len(set(names)) == len(names) and WEIGHTS in names,
        "a task of classes needs labels, another has none": bool(card.classes) == (card.task != "super-resolution"),
        "labels must be distinct, each one printable line": len(set(card.classes)) == len(card.classes)
        and all(map(is_label, card.classes)),
    }
    return [rule for rule, holds in rules.items() if not holds]


def _is_plain(value: object, most: float = _MOST_OF_AN_ARGUMENT, depth: int = 3) -> bool:
    """Whether an argument is a text, a number up to ``most``, or a short table or list of those."""
    if isinstance(value, (dict, list, tuple)):
        items = [*value, *value.values()] if isinstance(value, dict) else value
        return depth > 0 and len(value) <= _MOST_ITEMS and all(_is_plain(item, most, depth - 1) for item in items)
    if isinstance(value, str):
        return len(value) <= _MOST_ITEMS
    return isinstance(value, (int, float)) and abs(value) <= most


def _misfits(model: object, config: dict[str, typing.Any], where: str = "config") -> list[str]:
    """The contradictions between a config and the arguments of its model."""
    source = source_of(config)
    arguments = set(model_arguments(str(model), source)) - {"weights", "include_top"}
    if not arguments:
        return ["model must be a class of keras_moe.models" + (f" with from_{source}" if source else "")]
    problems = [] if config.keys() <= arguments else [f"{where} may only hold {sorted(arguments)}"]
    if source is None:
        return problems
    inner = config[source] if isinstance(config[source], dict) else {}
    rest = {key: value for key, value in inner.items() if key != "model"}
    return problems + _misfits(inner.get("model"), rest, f"{where}.{source}")
