"""Models on the Hugging Face Hub, read by ``hf://user/repo[@revision]``."""

import pathlib
import re
import typing

from keras_moe.checks import IntegrityError, require
from keras_moe.zoo import store
from keras_moe.zoo.model_card import CARD, LABELS, MOST, Card, File, parse_card

PREFIX = "hf://"

_ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


def is_address(name: object) -> bool:
    """Whether ``name`` is ``hf://user/repo`` or ``hf://user/repo@revision``."""
    return isinstance(name, str) and _ADDRESS.fullmatch(name) is not None


def no_answer() -> tuple[type[Exception], ...]:
    """The exceptions of ``huggingface_hub`` when the Hub refuses or cannot be reached: HTTP errors, OSError."""
    from huggingface_hub.errors import HfHubHTTPError

    return typing.cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)


class Hub:
    """A repository on the Hub, as a ``ModelSource``. All files are of one commit, that of the card, read first.

    Downloads are in the cache of ``huggingface_hub``, whose environment variables hold (``HF_HOME``,
    ``HF_HUB_OFFLINE``, ``HF_TOKEN``, ``HF_ENDPOINT``); ``KERAS_MOE_OFFLINE`` forbids the network here, too.

    Args:
        address: ``"hf://user/repo"``, and perhaps ``"@"`` and a branch, a tag or a commit.

    Raises:
        ValueError: another address.
        ImportError: the extra ``hub`` is not installed.
    """

    def __init__(self, address: str) -> None:
        parts = _ADDRESS.fullmatch(address)
        if parts is None:
            raise ValueError(f"Expected a model as hf://user/repo or hf://user/repo@revision. Received: {address!r}")
        require(address, "hub", "huggingface_hub")
        self.repo, self._revision = parts["repo"], parts["revision"]

    @property
    def label(self) -> str:
        """The address, with the commit once it is known."""
        return f"{PREFIX}{self.repo}" + (f"@{self._revision}" if self._revision else "")

    def card(self, check_model: bool = True) -> Card:
        text, labels = self._read(CARD, MOST[CARD]), self._read(LABELS, MOST[LABELS], optional=True)
        return parse_card(text, labels, f"{self.label}/{CARD}", check_model=check_model)

    def fetch(self, file: File) -> bytes:
        data = self._read(file.name, file.size)
        return store.verified(data, file, f"{self.label}/{file.name}", "The repository's card and file do not agree.")

    def _read(self, name: str, most: int, optional: bool = False) -> bytes:
        from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            metadata = hf_hub_download(
                self.repo, name, revision=self._revision, dry_run=True, local_files_only=store.is_offline()
            )
            self._revision = metadata.commit_hash
            self._check_size(name, metadata.file_size, most)
            path = hf_hub_download(self.repo, name, revision=self._revision, local_files_only=store.is_offline())
        except LocalEntryNotFoundError as error:
            if optional and try_to_load_from_cache(self.repo, name, revision=self._revision) is _CACHED_NO_EXIST:
                return b""
            raise ConnectionError(
                f"{self.label}/{name} is not on this machine, and the Hub cannot be asked."
            ) from error
        except EntryNotFoundError as error:
            if optional:
                return b""
            raise ValueError(f"{self.label} is no model folder: it has no {name}.") from error
        except no_answer() as error:
            raise ConnectionError(f"{self.label} cannot be read: {str(error).splitlines()[0]}") from error
        with pathlib.Path(path).open("rb") as file:
            return file.read(most + 1)

    def _check_size(self, name: str, size: int | None, most: int) -> None:
        """Before the download; a size that the server does not tell is met after it."""
        if size is not None and size > most:
            raise IntegrityError(f"{self.label}/{name}: expected at most {most:,} bytes. Received: {size:,}")
