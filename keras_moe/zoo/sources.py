"""Sources of models: a published name, a model folder or the Hugging Face Hub."""

import os
import pathlib
import stat
import typing

from keras_moe.checks import IntegrityError, flag
from keras_moe.zoo import store
from keras_moe.zoo.hub import PREFIX, Hub
from keras_moe.zoo.listing import check_known, list_models
from keras_moe.zoo.model_card import CARD, LABELS, MOST, Card, File, parse_card
from keras_moe.zoo.writing import restore

Name: typing.TypeAlias = str | os.PathLike[str]


class ModelSource(typing.Protocol):
    """A place that holds a model."""

    @property
    def label(self) -> str:
        """Its name in errors, which ``find`` takes, too."""

    def card(self, check_model: bool = True) -> Card:
        """The model's card; ValueError if it is malformed."""

    def fetch(self, file: File) -> bytes:
        """The content of a file of the card, verified; IntegrityError if it is another."""


def card(name: Name, check_model: bool = True) -> Card:
    """The ``Card`` of a model.

    Args:
        name: one of ``list_models()``, the path of a model folder, or ``"hf://user/repo[@revision]"`` on the Hugging
            Face Hub (extra ``hub``).
        check_model: bool. False: the check that the card fits its class, which imports Keras, is left out.

    Raises:
        ValueError: an unknown model, or a malformed card.
        IntegrityError: a card that is no file of its folder, or too large.
        ConnectionError: the Hub cannot be read.

    Example:
        >>> card = zoo.card("test_hydranet")
        >>> card.task, card.data.name, card.classes[:3]
        ('classification', 'digits (scikit-learn)', ('0', '1', '2'))
    """
    return find(name).card(flag("card", "check_model", check_model))


def find(name: Name) -> ModelSource:
    """The ``ModelSource`` that ``name`` means: a published model, or else a folder or a repository.

    Raises:
        ValueError: none of them; the message proposes similar names.
    """
    if isinstance(name, str) and name.startswith(PREFIX):
        return Hub(name)
    if isinstance(name, str) and name in list_models():
        return Published(name)
    if isinstance(name, (str, os.PathLike)) and _is_folder(name):
        return Folder(name)
    check_known("model", name, list_models(), "the path of a model folder, or hf://user/repo")
    raise AssertionError("a known name is a published model")


class Published:
    """A published model."""

    def __init__(self, name: str) -> None:
        self.label = name

    def card(self, check_model: bool = True) -> Card:
        folder = Folder(store.published_folder() / self.label)
        return parse_card(folder.read(CARD), folder.read(LABELS), folder.path / CARD, self.label, check_model)

    def fetch(self, file: File) -> bytes:
        return store.fetch(self.label, file)


class Folder:
    """A model folder. Its files may be a stranger's: nothing outside it is read, and nothing larger than its card says.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Name) -> None:
        self.path, self.label = pathlib.Path(path), os.fspath(path)

    def card(self, check_model: bool = True) -> Card:
        return parse_card(self.read(CARD), self.read(LABELS), self.path / CARD, check_model=check_model)

    def fetch(self, file: File) -> bytes:
        source = self.path / file.name
        return store.verified(self._read(file.name, file.size), file, source, "Save the model anew, or copy it again.")

    def read(self, name: str) -> bytes:
        """The content of ``card.toml`` or ``labels.txt``; of the latter b"" where there is none."""
        if name == LABELS and not os.path.lexists(self.path / name):
            return b""
        return self._read(name, MOST[name])

    def _read(self, name: str, most: int) -> bytes:
        path = self.path / name
        try:
            real_path = path.resolve(strict=True)
            status = real_path.stat()
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{self.path} is not a whole model folder: {name} cannot be read ({error})") from error
        if real_path.parent != self.path.resolve() or not stat.S_ISREG(status.st_mode):
            raise IntegrityError(f"{path}: expected a file of its folder. Received: {real_path}, which is none")
        if status.st_size > most:
            raise IntegrityError(f"{path}: expected at most {most:,} bytes. Received: {status.st_size:,}")
        with real_path.open("rb") as file:
            return file.read(most + 1)


def _is_folder(name: Name) -> bool:
    try:
        restore(pathlib.Path(os.path.realpath(name)))
        return os.fspath(name) != "" and pathlib.Path(name).is_dir()
    except (ValueError, OSError):  # a zero byte, too long a name
        return False
