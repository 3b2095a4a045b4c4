"""``litert`` on the TensorFlow backend, in this process or in its own: files built, sealed, compared, written."""

import collections
import hashlib
import json
import pathlib
import tempfile
import typing

from keras_moe.export.flatbuffer import operations, tensors
from keras_moe.export.litert import forms, integrity, metadata, parity
from keras_moe.export.litert.runtime import LiteRTModel
from keras_moe.export.targets import report as targets
from keras_moe.files import write_bytes
from keras_moe.labels import to_lines
from keras_moe.models import MoEModel
from keras_moe.types import Array

_ON_TARGET = 16  # images at most run in the interpreter of microcontrollers, which is not made for this machine
_SAME_ROUTES = 0.98  # of them at least, or the trunk stays in float
Report: typing.TypeAlias = dict[str, typing.Any]


def export(
    model: MoEModel,
    path: str,
    described: dict[str, typing.Any],
    labels: list[str],
    trunk_precision: str | None,
    check_parity: bool,
    target: str,
    strict: bool,
    representative_dataset: Array | None,
    images: Array,
    expected: Array,
    route: Array | None,
) -> Report:
    """``litert`` on the TensorFlow backend, with checked arguments"""
    file, scores = pathlib.Path(path), model.output_kind == "classes"
    opened = forms.opened_model(model, described["form"], described["quantize"], representative_dataset)
    for tried in _precisions(trunk_precision, described):
        described = {**described, "trunk_precision": tried}
        built = forms.build(opened, tried)
        written = _sealed(file, built.graphs, described, labels, model.takes_pixels)
        agreement = _parity(written, file.name, images, expected, route, scores)
        if agreement.get("routing_agreement", 1.0) >= _SAME_ROUTES:
            break
    if check_parity:
        parity.check(agreement, described["quantize"], scores)
    placed, extra = targets.built(target, built.graphs, opened.layers, described, labels, file.stem)
    if strict and (message := targets.left(placed, described)):
        raise ValueError(f"{message} Nothing was written.")
    if target == "tflm":
        placed["parity"] = _parity(written, file.name, images[:_ON_TARGET], expected, route, scores, "tflm")
        if check_parity:
            parity.check(placed["parity"], described["quantize"], scores)
    report = _report(described, built, written, agreement, placed)
    _write(file, {**extra, **written}, report)
    return report


def _precisions(trunk_precision: str | None, described: dict[str, typing.Any]) -> tuple[str | None, ...]:
    """Precisions of the trunk to try in turn, until the routes are kept."""
    choice = described["quantize"] == "int8" and described["form"] == "routed"
    return ("int8", "float") if choice and trunk_precision is None else (trunk_precision,)


def _parity(
    written: dict[str, bytes],
    name: str,
    images: Array,
    expected: Array,
    route: Array | None,
    scores: bool,
    runtime: str = "litert",
) -> Report:
    """How far the files ``written`` are from what is expected of ``images``, the first of those it is known of."""
    count = len(images)
    with tempfile.TemporaryDirectory() as folder:
        for file, data in written.items():
            pathlib.Path(folder, file).write_bytes(data)
        predictions, file_route = LiteRTModel(pathlib.Path(folder, name), runtime=runtime).predict_routed(images)
    return parity.compare(predictions, file_route, expected[:count], None if route is None else route[:count], scores)


def _sealed(
    path: pathlib.Path,
    graphs: dict[str, bytes],
    described: dict[str, typing.Any],
    labels: list[str],
    takes_pixels: bool,
) -> dict[str, bytes]:
    """File name -> bytes, sealed, of LiteRT ``graphs``, and their manifest where there are several."""
    attached = {metadata.DESCRIPTION: json.dumps(described, indent=1).encode()}
    if labels:
        attached[metadata.LABELS] = to_lines(labels)
    if list(graphs) == ["model"]:
        if described["num_experts"]:
            attached[metadata.EXPERTS] = "\n".join(f"expert {k}" for k in range(described["num_experts"])).encode()
        whole = metadata.describe(graphs["model"], described, attached, takes_pixels)
        return {path.name: integrity.seal(whole, attached)}
    names = {name: f"{path.stem}.{name}.tflite" for name in graphs}
    files = {names[n]: integrity.seal(d, attached if n == "head" else {}) for n, d in graphs.items()}
    parts = [
        {"name": name, "file": file, "sha256": _sha256(files[file]), **tensors(graphs[name])}
        for name, file in names.items()
    ]
    return {**files, path.name: integrity.manifest({**described, "parts": parts})}


def _report(
    described: dict[str, typing.Any],
    built: forms.Graphs,
    files: dict[str, bytes],
    agreement: Report,
    target: Report,
) -> Report:
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
        "parity": agreement,
    }


def _write(path: pathlib.Path, files: dict[str, bytes], report: Report) -> None:
    """Writes ``files`` beside ``path``, which is one of them and comes last, and their report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, data in sorted(files.items(), key=lambda item: item[0] == path.name):
        write_bytes(path.parent / name, data)
    text = json.dumps(report, indent=1) + "\n"
    write_bytes(path.with_suffix(".report.json"), text.encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
