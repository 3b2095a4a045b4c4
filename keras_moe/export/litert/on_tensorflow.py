"""``litert`` on the TensorFlow backend, in this process or in one of its own: built, compared, written."""

import pathlib
import tempfile
import typing

from keras_moe.export.litert import files, forms, parity
from keras_moe.export.litert.runtime import LiteRTModel
from keras_moe.export.targets import report as targets
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
    file, scores = pathlib.Path(path), model.answers == "classes"
    source = forms.source(model, described["form"], described["quantize"], representative_dataset)
    for tried in _precisions(trunk_precision, described):
        described = {**described, "trunk_precision": tried}
        built = forms.build(source, tried)
        written = files.sealed(file, built.graphs, described, labels)
        agreement = _parity(written, file.name, images, expected, route, scores)
        if agreement.get("routing_agreement", 1.0) >= _SAME_ROUTES:
            break
    if check_parity:
        parity.check(agreement, described["quantize"], scores)
    placed, extra = targets.built(target, built.graphs, source.layers, described, labels, file.stem)
    if strict and (message := targets.left(placed, described)):
        raise ValueError(f"{message} Nothing was written.")
    if target == "tflm":
        placed["parity"] = _parity(written, file.name, images[:_ON_TARGET], expected, route, scores, "tflm")
        if check_parity:
            parity.check(placed["parity"], described["quantize"], scores)
    report = files.report(described, built, written, agreement, placed)
    files.write(file, {**extra, **written}, report)
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
