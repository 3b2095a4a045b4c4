"""The names of the published models."""

import difflib
import fnmatch
import pathlib

from keras_moe.zoo import store
from keras_moe.zoo.model_card import CARD, LABELS, TASKS, parse_card


def list_models(pattern: str = "*", task: str | None = None) -> list[str]:
    """Names of the published models, sorted.

    Args:
        pattern: str, as in ``fnmatch``: ``"hydranet*"``.
        task: None, ``"classification"``, ``"segmentation"`` or ``"super-resolution"``.

    Raises:
        ValueError: an unknown ``task``.

    Example:
        >>> zoo.list_models("test_*", task="super-resolution")
        ['test_classsr']
    """
    if task not in (None, *TASKS):
        raise ValueError(f"`task` must be None or one of {TASKS}. Received: task={task!r}")
    cards = {path.parent.name: path for path in store.published_folder().glob(f"*/{CARD}")}
    names = sorted(name for name in cards if fnmatch.fnmatchcase(name, pattern))
    return [name for name in names if task is None or _task(cards[name]) == task]


def check_known(kind: str, name: object, names: list[str], otherwise: str = "") -> None:
    """Raises ValueError if ``name``, of a ``kind`` of thing, is none of ``names``; the error proposes similar names.

    ``otherwise``: what else may be given.
    """
    if name not in names:
        near = difflib.get_close_matches(str(name), names) or [
            candidate for candidate in names if name and str(name) in candidate
        ]
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(
            f"Unknown {kind} {name!r}.{hint} Expected one of: {', '.join(names)}{otherwise and f'; or {otherwise}'}"
        )


def _task(path: pathlib.Path) -> str:
    labels = path.with_name(LABELS)
    return parse_card(path.read_bytes(), labels.read_bytes() if labels.exists() else b"", path, check_model=False).task
