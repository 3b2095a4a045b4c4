"""Publishes a model on the Hugging Face Hub: its files and its README.md as one commit."""

import dataclasses

from keras_moe.checks import flag, require
from keras_moe.zoo import store
from keras_moe.zoo.calibration import SHEET
from keras_moe.zoo.hub import PREFIX, is_address, no_answer
from keras_moe.zoo.hub_card import readme
from keras_moe.zoo.model_card import card_files
from keras_moe.zoo.sources import Name, find


def push(
    name: Name,
    repo: str,
    *,
    private: bool = False,
    images: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Publishes a model on the Hugging Face Hub: the files of its card, verified, and a ``README.md`` made from it.

    Args:
        name: as for ``load``: usually the path of a model folder. Its card must name a license.
        repo: ``"user/repo"``, made if need be.
        private: bool, whether a new repository is private.
        images: bool, whether the folder's calibration images are published too; they may be your own photographs.
        token: str or None, as for ``huggingface_hub``: its login.
        endpoint: the Hub's URL; None: ``huggingface_hub``'s.

    Returns:
        The address to load it by, ``"hf://user/repo@commit"``.

    Raises:
        ValueError: an unknown model, a card without a license, or another ``repo``.
        IntegrityError: a file that is not what its card names.
        ImportError: the extra ``hub`` is not installed.
        ConnectionError: the Hub refused, or cannot be reached.

    Example:
        >>> zoo.push("test_hydranet", "no repository")
        Traceback (most recent call last):
        ...
        ValueError: push: `repo` must be 'user/repo'. Received: repo='no repository'
    """
    private, images = flag("push", "private", private), flag("push", "images", images)
    if not isinstance(repo, str) or "@" in repo or not is_address(PREFIX + repo):
        raise ValueError(f"push: `repo` must be 'user/repo'. Received: repo={repo!r}")
    require("push", "hub", "huggingface_hub")
    from huggingface_hub import CommitOperationAdd, HfApi

    contents = _contents(name, repo, images)
    if store.is_offline():
        raise ConnectionError("push: KERAS_MOE_OFFLINE forbids the network; nothing was published.")
    api = HfApi(endpoint=endpoint, token=token)
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        added = [CommitOperationAdd(file, data) for file, data in contents.items()]
        commit = api.create_commit(repo, added, commit_message="Publish a model of keras-moe")
    except no_answer() as error:
        raise ConnectionError(f"push: {repo} was not published: {str(error).splitlines()[0]}") from error
    return f"{PREFIX}{repo}@{commit.oid}"


def _contents(name: Name, repo: str, images: bool) -> dict[str, bytes]:
    """File name -> bytes of the repository; without ``images`` neither they nor a word of them in the card."""
    source = find(name)
    card = source.card()
    if not card.license:
        raise ValueError(f"push: {source.label} names no license. Save it with one: zoo.save(…, license='CC-BY-4.0').")
    files = tuple(file for file in card.files if images or file.name != SHEET)
    card = dataclasses.replace(card, files=files)
    contents = {file.name: source.fetch(file) for file in files}
    return {**contents, **card_files(card), "README.md": readme(card, repo).encode()}
