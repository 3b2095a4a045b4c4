"""What a fine-tuning prints, and how it knows its own files again."""

import dataclasses
import json
import os
import pathlib
import sys
import typing
from collections.abc import Iterable

from keras_moe.datasets import LabelledFiles
from keras_moe.files import write_bytes
from keras_moe.models import MoEModel
from keras_moe.training.features import Track
from keras_moe.training.finetuning.naming import identity
from keras_moe.training.finetuning.plan import FineTuningSettings
from keras_moe.types import Path

# What may change when a run goes on: no stage that has ended depends on it.
_FREE = ("minutes", "budget", "most_unreadable", "latency")


def say(text: str, verbose: bool) -> None:
    """Prints a line on stderr."""
    if verbose:
        print(text, file=sys.stderr, flush=True)


def fit_verbosity(verbose: bool) -> int:
    """``verbose`` of ``fit``: a moving bar on a terminal, a line for each epoch in a log."""
    return (1 if sys.stderr.isatty() else 2) if verbose else 0


def track(description: str, verbose: bool) -> Track:
    """Shows the progress of an iteration and the time that is left."""

    def tracked(steps: Iterable[typing.Any], total: int) -> Iterable[typing.Any]:
        if not verbose:
            return steps
        from rich import progress
        from rich.console import Console

        return progress.track(steps, description, total, console=Console(stderr=True))

    return tracked


def identify(work: pathlib.Path, start: Path | MoEModel, files: LabelledFiles, settings: FineTuningSettings) -> None:
    """Writes what the run is, or compares it with the run that the folder ``work`` is of.

    What is compared are the images and START themselves, not where they lie, and the numbers that decide what is
    learned. ``minutes``, ``budget``, ``most_unreadable`` and ``latency`` may change.

    Raises:
        FileExistsError: the folder is no run's.
        ValueError: another one, and what differs.
    """
    own = {
        "start": identity(start),
        "images": files.digest,
        **dataclasses.asdict(settings),
    }
    path = work / "run.json"
    if path.exists():
        _compare(work, own, json.loads(path.read_text()))
    else:
        if os.path.lexists(work) and not (work.is_dir() and not any(work.iterdir())):  # it is removed in the end
            raise FileExistsError(f"{work} is there already, and no fine-tuning's. Move it, or give another folder.")
        work.mkdir(parents=True, exist_ok=True)
    write_bytes(path, json.dumps(own, indent=1).encode())


def _compare(work: pathlib.Path, own: dict[str, typing.Any], begun: dict[str, typing.Any]) -> None:
    other = sorted(name for name in own if own[name] != begun.get(name) and name not in _FREE)
    if other:
        raise ValueError(
            f"{work} holds an unfinished fine-tuning with other {', '.join(other)}. Remove it, or give the same "
            f"arguments to go on; {', '.join(_FREE)} may be others."
        )
