"""The published models and their cards, by name."""

import difflib
import fnmatch

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
        check_model: bool. False: the class that the card names is not looked at, which takes Keras.

    Raises:
        ValueError: an unknown name, or a card that is none.
    """
    check_model = flag("card", "check_model", check_model)
    check_known(name, list_models())
    return read_card(_path(name), check_model)


def check_known(name: str, names: list[str]) -> None:
    """Raises ValueError, with those of ``names`` that are spelled alike, where ``name`` is none of them."""
    if name not in names:
        near = difflib.get_close_matches(str(name), names)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"Unknown model {name!r}.{hint} The zoo has: {names}")


def _path(name):
    return store.published_folder() / name / "card.toml"
