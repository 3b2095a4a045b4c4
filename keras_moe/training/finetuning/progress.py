"""What a fine-tuning prints, and how it knows its own files again."""

import dataclasses
import hashlib
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
from keras_moe.training.finetuning.plan import FineTuningSettings
from keras_moe.types import Path


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

    Raises:
        FileExistsError: the folder is no run's.
        ValueError: another one, and what differs.
    """
    own = {
        "start": start.name if isinstance(start, MoEModel) else os.fspath(start),
        "images": _digest(files),
        **dataclasses.asdict(settings),
    }
    path = work / "run.json"
    if not path.exists():
        if work.exists() and any(work.iterdir()):  # it is removed in the end
            raise FileExistsError(f"{work} is there already, and no fine-tuning's. Move it, or give another folder.")
        work.mkdir(parents=True, exist_ok=True)
        write_bytes(path, json.dumps(own, indent=1).encode())
        return
    begun = json.loads(path.read_text())
    other = sorted(name for name in own if own[name] != begun.get(name))
    if other:
        raise ValueError(
            f"{work} holds an unfinished fine-tuning with other {', '.join(other)}. Remove it, or give the same "
            "arguments to go on."
        )


def _digest(files: LabelledFiles) -> str:
    rows = zip(files.paths, files.labels.tolist(), files.parts.tolist(), strict=True)
    text = json.dumps([[*row, os.stat(row[0]).st_size] for row in rows])
    return hashlib.sha256(text.encode()).hexdigest()
