"""The files of an export: sealed, described in a report, written."""

import collections
import hashlib
import json
import pathlib
import typing

from keras_moe.export.flatbuffer import operations, tensors
from keras_moe.export.litert import integrity, metadata
from keras_moe.export.litert.forms import Graphs
from keras_moe.files import write_bytes
from keras_moe.labels import to_lines


def sealed(
    path: pathlib.Path, graphs: dict[str, bytes], described: dict[str, typing.Any], labels: list[str]
) -> dict[str, bytes]:
    """File name -> bytes, sealed, of LiteRT ``graphs``, and their manifest where there are several."""
    attached = {metadata.DESCRIPTION: json.dumps(described, indent=1).encode()}
    if labels:
        attached[metadata.LABELS] = to_lines(labels)
    if list(graphs) == ["model"]:
        if described["experts"]:
            attached[metadata.EXPERTS] = "\n".join(f"expert {k}" for k in range(described["experts"])).encode()
        return {path.name: integrity.seal(metadata.describe(graphs["model"], described, attached), attached)}
    names = {name: f"{path.stem}.{name}.tflite" for name in graphs}
    files = {names[n]: integrity.seal(d, attached if n == "head" else {}) for n, d in graphs.items()}
    parts = [
        {"name": name, "file": file, "sha256": _sha256(files[file]), **tensors(graphs[name])}
        for name, file in names.items()
    ]
    return {**files, path.name: integrity.manifest({**described, "parts": parts})}


def report(
    described: dict[str, typing.Any],
    built: Graphs,
    files: dict[str, bytes],
    parity: dict[str, typing.Any],
    target: dict[str, typing.Any],
) -> dict[str, typing.Any]:
    """The report of ``litert``: its ``files``, the graphs that were ``built``, and their ``target``."""
    counts: collections.Counter[str] = collections.Counter()
    for data in built.graphs.values():
        counts.update(operations(data))
    return {
        **described,
        "files": {name: {"bytes": len(data), "sha256": _sha256(data)} for name, data in files.items()},
        "bytes": sum(len(data) for data in files.values()),
        "operations": dict(sorted(counts.items())),
        "conditions": counts["IF"],
        "target": target,
        "calibration": built.calibration,
        "parity": parity,
    }


def write(path: pathlib.Path, files: dict[str, bytes], report: dict[str, typing.Any]) -> None:
    """Writes ``files`` beside ``path``, which is one of them and comes last, and their report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, data in sorted(files.items(), key=lambda item: item[0] == path.name):
        write_bytes(path.parent / name, data)
    text = json.dumps(report, indent=1) + "\n"
    write_bytes(path.with_suffix(".report.json"), text.encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
