"""``litert``: a Keras model as LiteRT files, checked against it."""

import collections
import hashlib
import json
import pathlib
import tempfile
import warnings

import keras
import numpy as np

from keras_moe.checks import check, flag, require
from keras_moe.export import tensorflow_process
from keras_moe.export.litert import forms, integrity, metadata, parity
from keras_moe.export.litert.accelerators import left_to_the_cpu
from keras_moe.export.litert.convert import QUANTIZATIONS
from keras_moe.export.litert.flatbuffer import operations, tensors
from keras_moe.export.litert.runtime import LiteRTModel
from keras_moe.files import write_bytes
from keras_moe.labels import is_label, to_lines
from keras_moe.models import MoEModel

FORMS = ("routed", "parts", "dense")
_CHECKED = 10000  # images at most are compared; of 1,000, a share near 98 % is off by half a point
_SAME_ROUTES = 0.98  # of them at least, or the trunk stays in float


def litert(
    model,
    path,
    form="routed",
    quantize=None,
    representative_dataset=None,
    images=None,
    trunk_precision=None,
    labels=None,
    card=None,
    check_parity=True,
):
    """Writes ``model`` as LiteRT (TFLite) of builtin operations only, with a batch of one.

    Args:
        model: an ``MoEModel`` in float32, of any backend (TensorFlow must be installed).
        path: a ``.tflite`` file; for ``form="parts"`` the ``.json`` manifest, with the parts beside it.
        form: ``"routed"``: one file; each expert lies under an ``IF`` guarded by its own weight and runs only if
            chosen, whatever k, dynamic k or early exit say. ``"parts"``: plain static graphs (trunk, router, each
            expert, head) for accelerators without control flow. ``"dense"``: every expert runs, for comparison.
        quantize: None, ``"float16"`` (weights, but for what decides the route: all outside the branches, or trunk and
            router), ``"dynamic"`` (int8 weights, float activations) or ``"int8"`` (both; parts but the router have
            int8 inputs and outputs too). With representative images, int8 kernels are rounded so that outputs, and
            with them routes, change least, and channels are scaled to like ranges
            (``keras_moe.export.quantization.gptq``, ``.equalize``).
        representative_dataset: array of images ``(n, height, width, channels)`` in the model's range, at least one:
            they calibrate int8, and make dynamic more exact. The report says how many were routed to each expert; one
            with fewer than 20 is calibrated with those, too, that the gate puts nearest to it.
        images: images to compare file and model on; None: ``representative_dataset``, or else noise.
        trunk_precision: ``"int8"`` or ``"float"``, with int8 and ``"routed"``: of everything outside the experts except
            the few small layers that decide the route or combine the experts' outputs, which are always in float. None:
            int8, unless that routes more than 2 % of the images differently.
        labels: list of str, the name of each class in order, a printable line, or empty; None: the card's.
        card: the zoo's ``Card``: name and license are taken from it.
        check_parity: bool, refuse a file that agrees too little with the model (``parity.BOUNDS``).

    Returns:
        dict, also written beside the file as ``<name>.report.json``: the files with sizes and sha256, their operations,
        how many ``IF``, what accelerators leave to the CPU of each graph, parity with Keras, representative_dataset
        images routed to each expert.

    Raises:
        ValueError: an argument out of range, or an operation without a LiteRT builtin.
        ParityError: see ``check_parity``.
        ImportError: no TensorFlow, or no ``ai_edge_litert``.

    Warns:
        UserWarning: an expert to which fewer than 20 representative images are routed.
    """
    check_parity = flag("litert", "check_parity", check_parity)
    require("litert", "tensorflow", "tensorflow")
    require("litert", "litert", "ai_edge_litert", "flatbuffers")
    path = pathlib.Path(path)
    _check_arguments(model, path, form, quantize, representative_dataset, trunk_precision)
    if labels is None:
        labels = card.classes if card else ()
    labels = _labels(model, labels)
    shape = model.input_shape[1:]
    if representative_dataset is not None:
        representative_dataset = _images("representative_dataset", representative_dataset, shape)
    seen = representative_dataset if images is None else _images("images", images, shape)
    seen = _noise(shape) if seen is None else seen[:_CHECKED]
    expected, route = model.predict_routed(seen)
    arrays = {"images": seen, "representative_dataset": representative_dataset, "route": route}
    arrays["expected"] = np.asarray(expected, "float32")
    described = {
        "name": card.name if card else model.name,
        "summary": card.summary if card else "",
        "license": card.license if card else "",
        "paper": card.paper_url if card else "",
        "input_shape": list(shape),
        "output_shape": list(model.output_shape[1:]),
        "form": form,
        "quantize": quantize,
        "experts": 0 if model.bank is None else len(model.bank.experts),
        "thresholds": {n: float(getattr(model, n)) for n in ("threshold", "drop_below") if hasattr(model, n)},
    }
    options = {
        "path": str(path.absolute()),
        "described": described,
        "labels": labels,
        "trunk_precision": trunk_precision,
    }
    options["check_parity"] = check_parity
    here = keras.backend.backend() == "tensorflow"
    report = export(model, arrays, **options) if here else tensorflow_process.run(model, arrays, options)
    if form != "dense":
        _warn_of_rare(report["calibration"])
    return report


def export(model, arrays, path, described, labels, trunk_precision, check_parity):
    """``litert`` on the TensorFlow backend, with checked arguments."""
    target, scores = pathlib.Path(path), model.answers == "classes"
    for tried in _precisions(trunk_precision, described):
        described = {**described, "trunk_precision": tried}
        made = forms.build(model, described["form"], described["quantize"], arrays.get("representative_dataset"), tried)
        files = _files(target, made, described, labels)
        found = _parity(files, target.name, arrays, scores)
        if found.get("routing_agreement", 1.0) >= _SAME_ROUTES:
            break
    if check_parity:
        parity.check(found, described["quantize"], scores)
    report = _report(described, made, files, found)
    _write(target, files, report)
    return report


def _warn_of_rare(calibration):
    few = {k: images for k, images in enumerate(calibration or ()) if images < forms.PER_EXPERT}
    if few:
        warnings.warn(
            f"litert: fewer than {forms.PER_EXPERT} representative images are routed to some experts (expert: "
            f"images): {few}. Those that the gate puts nearest calibrated them too. Add images that reach them.",
            stacklevel=3,
        )


def _precisions(trunk_precision, described):
    """Precisions of the trunk to try in turn, until the routes are kept."""
    choice = described["quantize"] == "int8" and described["form"] == "routed"
    return ("int8", "float") if choice and trunk_precision is None else (trunk_precision,)


def _report(described, made, files, found):
    each = {name: collections.Counter(operations(data)) for name, data in made.graphs.items()}
    counts = sum(each.values(), collections.Counter())
    return {
        **described,
        "files": {n: {"bytes": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in files.items()},
        "bytes": sum(len(data) for data in files.values()),
        "operations": dict(sorted(counts.items())),
        "conditions": counts["IF"],
        "left_to_the_cpu": {name: left_to_the_cpu(found) for name, found in each.items()},
        "calibration": made.calibration,
        "parity": found,
    }


def _write(target, files, report):
    target.parent.mkdir(parents=True, exist_ok=True)
    for name, data in sorted(files.items(), key=lambda item: item[0] == target.name):  # the manifest last
        write_bytes(target.parent / name, data)
    text = json.dumps(report, indent=1) + "\n"
    write_bytes(target.with_suffix(".report.json"), text.encode())


def _files(path, made, described, labels):
    """File name -> bytes, sealed, of the graphs that were made, and their manifest where there are several."""
    attached = {metadata.DESCRIPTION: json.dumps(described, indent=1).encode()}
    if labels:
        attached[metadata.LABELS] = to_lines(labels)
    if list(made.graphs) == ["model"]:
        data = made.graphs["model"]
        if described["experts"]:
            attached[metadata.EXPERTS] = "\n".join(f"expert {k}" for k in range(described["experts"])).encode()
        return {path.name: integrity.seal(metadata.describe(data, described, attached), attached)}
    names = {name: f"{path.stem}.{name}.tflite" for name in made.graphs}
    files = {names[n]: integrity.seal(d, attached if n == "head" else {}) for n, d in made.graphs.items()}
    parts = [
        {"name": name, "file": file, "sha256": hashlib.sha256(files[file]).hexdigest(), **tensors(made.graphs[name])}
        for name, file in names.items()
    ]
    return {**files, path.name: integrity.manifest({**described, "parts": parts})}


def _parity(files, name, arrays, scores):
    with tempfile.TemporaryDirectory() as folder:
        for file, data in files.items():
            pathlib.Path(folder, file).write_bytes(data)
        predictions, route = LiteRTModel(pathlib.Path(folder, name)).predict_routed(arrays["images"])
    return parity.compare(predictions, route, arrays["expected"], arrays.get("route"), scores)


def _check_arguments(model, path, form, quantize, representative_dataset, trunk_precision):
    if not isinstance(model, MoEModel):
        raise ValueError(f"litert: `model` must be a model of keras_moe.models. Received: {type(model).__name__}")
    check("litert", "form", form, form in FORMS, f"one of {FORMS}")
    check("litert", "quantize", quantize, quantize in QUANTIZATIONS, f"one of {QUANTIZATIONS}")
    check(
        "litert",
        "trunk_precision",
        trunk_precision,
        trunk_precision in (None, "int8", "float"),
        "None, 'int8' or 'float'",
    )
    suffix = ".json" if form == "parts" else ".tflite"
    check("litert", "path", str(path), path.suffix == suffix, f"a {suffix} file for form={form!r}")
    enough = quantize != "int8" or representative_dataset is not None
    check("litert", "representative_dataset", None, enough, "images, to calibrate int8")
    if model.compute_dtype != "float32":
        raise ValueError(f"litert: the model must compute in float32; load it so. Received: {model.compute_dtype}")
    if None in model.input_shape[1:]:
        raise ValueError(f"litert: the input size must be known. Received: input shape {model.input_shape}")


def _labels(model, labels):
    """``labels`` as a list: one for each class of the model, or none."""
    unordered = isinstance(labels, (str, bytes, dict, set, frozenset))
    check("litert", "labels", labels, not unordered, "a list of str, in the order of the classes")
    labels = list(labels)
    odd = [label for label in labels if not is_label(label)]
    check("litert", "labels", odd, not odd, "printable lines of text, not empty, without blanks at their ends")
    classes = model.output_shape[-1] if model.answers == "classes" else 0
    if len(labels) not in (0, classes):
        raise ValueError(
            f"litert: `labels` must name each of the {classes} classes of {model.name!r}, or none. Received: "
            f"{len(labels)} labels"
        )
    return labels


def _images(name, images, shape):
    expected = f"an array of images (n >= 1, {', '.join(map(str, shape))})"
    try:
        array = np.asarray(images)
    except ValueError as error:  # a list of images of several sizes
        raise ValueError(f"litert: `{name}` must be {expected}. Received: {type(images).__name__}, {error}") from error
    if array.dtype == object:
        raise ValueError(
            f"litert: `{name}` must be {expected}. Received: {type(images).__name__}. Make an array of what it yields: "
            "np.stack of a list of images, np.concatenate of a list of batches."
        )
    if array.ndim != 4 or array.shape[1:] != tuple(shape) or not len(array):
        raise ValueError(f"litert: `{name}` must be {expected}. Received: shape {array.shape}")
    images = array.astype("float32")
    if not np.all(np.isfinite(images)):
        raise ValueError(f"litert: `{name}` must be finite. Received: NaN or infinity")
    return images


def _noise(shape):
    return np.random.default_rng(0).uniform(0, 255, (16, *shape)).astype("float32")
