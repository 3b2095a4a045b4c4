"""The published models and their cards, by name."""

import difflib
import fnmatch
import pathlib

from keras_moe.checks import flag
from keras_moe.zoo import store
from keras_moe.zoo.model_card import TASKS, Card, read_card


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
    folders = (path.parent.name for path in store.published_folder().glob("*/card.toml"))
    names = sorted(name for name in folders if fnmatch.fnmatchcase(name, pattern))
    return [name for name in names if task is None or read_card(_path(name), check_model=False).task == task]


def card(name: str, check_model: bool = True) -> Card:
    """The ``Card`` of a published model.

    Args:
        name: str, one of ``list_models()``.
        check_model: bool. False: the check that the card fits its class, which imports Keras, is left out.

    Raises:
        ValueError: an unknown name, or a malformed card.

    Example:
        >>> card = zoo.card("test_hydranet")
        >>> card.task, card.data.name, card.classes[:3]
        ('classification', 'digits (scikit-learn)', ('0', '1', '2'))
    """
    check_model = flag("card", "check_model", check_model)
    check_known("model", name, list_models())
    return read_card(_path(name), check_model)


def check_known(kind: str, name: str, names: list[str]) -> None:
    """Raises ValueError if ``name``, of a ``kind`` of thing, is none of ``names``; the error proposes similar names."""
    if name not in names:
        near = difflib.get_close_matches(str(name), names) or [known for known in names if name and str(name) in known]
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"Unknown {kind} {name!r}.{hint} Expected one of: {', '.join(names)}")


def _path(name: str) -> pathlib.Path:
    return store.published_folder() / name / "card.toml"
