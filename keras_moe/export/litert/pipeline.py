"""``litert``: a Keras model as LiteRT files, checked against it."""

import pathlib
import typing
import warnings

import keras
import numpy as np

from keras_moe.checks import check, flag, require, warn_of_fractions
from keras_moe.export import tensorflow_process
from keras_moe.export.litert import on_tensorflow, parity
from keras_moe.export.litert.arguments import check_form, check_model, checked_images, checked_labels, noise
from keras_moe.export.litert.calibration import PER_EXPERT
from keras_moe.export.targets import report as targets
from keras_moe.models import MoEModel
from keras_moe.types import Array, Path
from keras_moe.zoo.model_card import Card

_CHECKED = 10000  # images at most are compared; of 1,000, a share near 98 % is off by half a point
Report: typing.TypeAlias = dict[str, typing.Any]


def litert(
    model: MoEModel,
    path: Path,
    form: str = "routed",
    quantize: str | None = None,
    representative_dataset: Array | None = None,
    images: Array | None = None,
    trunk_precision: str | None = None,
    labels: list[str] | None = None,
    card: Card | None = None,
    check_parity: bool = True,
    target: str = "litert",
    strict: bool = False,
) -> Report:
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
            (``keras_moe.export.quantization.gptq``, ``.cross_layer_equalization``).
        representative_dataset: array of images ``(n, height, width, channels)`` in the model's range, at least one:
            they calibrate int8, and make dynamic more exact. The report says how many were routed to each expert; one
            with fewer than 20 is calibrated with those, too, that the gate puts nearest to it.
        images: images to compare file and model on; None: ``representative_dataset``, or else noise.
        trunk_precision: ``"int8"`` or ``"float"``, with int8 and ``"routed"``: of everything outside the experts except
            the few small layers that decide the route or combine the experts' outputs, which are always in float. None:
            int8, unless that routes more than 2 % of the images differently.
        labels: the name of each class in order, a printable line, or empty; None: the card's.
        card: the zoo's ``Card``: name and license are taken from it.
        check_parity: refuse a file that agrees too little with the model (``parity.BOUNDS``).
        target: the machine that the report is about. ``"litert"``: a phone or a browser. ``"tflm"``: a microcontroller;
            the files run in ``tflite-micro``'s interpreter on some of the images, and lie beside as C source.
            ``"ethos-u55-128"``, ``"ethos-u65-256"``, ``"ethos-u85-256"``: the NPU, by Arm's compiler Vela, whose files
            lie beside. ``"edgetpu"``: by its maker's list of operations. All but the first and the last need the extra
            ``edge``.
        strict: refuse what falls off an accelerator, instead of a warning. The router of parts may: it is the CPU's.

    Returns:
        dict, also written beside the file as ``<name>.report.json``: the files with sizes and sha256, their operations,
        how many ``IF``, where on the target each operation runs, with memory and estimated cycles, parity with Keras,
        representative_dataset images routed to each expert.

    Raises:
        ValueError: an argument out of range, an operation without a LiteRT builtin or one that the target has not.
        ParityError: see ``check_parity``.
        ImportError: no TensorFlow, no ``ai_edge_litert``, or not the tool of the target.

    Warns:
        UserWarning: an expert to which fewer than 20 representative images are routed; operations that fall off an
            accelerator; images of numbers in [0, 1] for a model that takes pixels.

    Example:
        >>> network = models.Classifier((8, 8, 1), 0.25, "resnet8", classes=3)
        >>> pictures = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 1))
        >>> report = export.litert(network, "digits.tflite", images=pictures, labels=["zero", "one", "two"])
        >>> sorted(report["files"]), report["parity"]["prediction_agreement"]
        (['digits.tflite'], 1.0)
        >>> file = export.LiteRTModel("digits.tflite")
        >>> file.labels, file.predict(pictures).shape
        (('zero', 'one', 'two'), (4, 3))
    """
    check_parity, strict = flag("litert", "check_parity", check_parity), flag("litert", "strict", strict)
    check("litert", "target", target, target in targets.TARGETS, f"one of {targets.TARGETS}")
    require("litert", "tensorflow", "tensorflow")
    require("litert", "litert", "ai_edge_litert", "flatbuffers")
    targets.require_tool(target)
    path, calibrated = pathlib.Path(path), representative_dataset is not None
    check_model(model)
    check_form(path, form, quantize, calibrated, trunk_precision)
    labels = checked_labels(model, (card.classes if card else ()) if labels is None else labels)
    shape = model.input_shape[1:]
    if calibrated:
        representative_dataset = checked_images("representative_dataset", representative_dataset, shape)
    test_images = representative_dataset if images is None else checked_images("images", images, shape)
    test_images = noise(shape) if test_images is None else test_images[:_CHECKED]
    if model.takes_pixels:
        warn_of_fractions("litert", test_images if representative_dataset is None else representative_dataset)
    expected, route = model.predict_routed(test_images)
    arguments = {
        "path": str(path.absolute()),
        "described": _described(model, form, quantize, card),
        "labels": labels,
        "trunk_precision": trunk_precision,
        "check_parity": check_parity,
        "target": target,
        "strict": strict,
        "representative_dataset": representative_dataset,
        "images": test_images,
        "expected": np.asarray(expected, "float32"),
        "route": route,
    }
    report = _run(model, arguments)
    if form != "dense":
        _warn_of_rare(report["calibration"])
    if message := targets.left(report["target"], report):
        warnings.warn(message, stacklevel=2)
    return report


def _described(model: MoEModel, form: str, quantize: str | None, card: Card | None) -> dict[str, typing.Any]:
    """The description that is stored in a file."""
    return {
        "name": card.name if card else model.name,
        "summary": card.summary if card else "",
        "license": card.license if card else "",
        "paper": card.paper_url if card else "",
        "input_shape": list(model.input_shape[1:]),
        "output_shape": list(model.output_shape[1:]),
        "form": form,
        "quantize": quantize,
        "num_experts": 0 if model.bank is None else len(model.bank.experts),
        "thresholds": {n: float(getattr(model, n)) for n in ("threshold", "drop_below") if hasattr(model, n)},
    }


def _run(model: MoEModel, arguments: dict[str, typing.Any]) -> Report:
    if keras.backend.backend() == "tensorflow":
        return on_tensorflow.export(model, **arguments)
    function = f"{on_tensorflow.__name__}:export"
    report: Report = tensorflow_process.run(function, model, arguments, errors=(parity.ParityError,))
    return report


def _warn_of_rare(calibrated: list[int] | None) -> None:
    few = {k: images for k, images in enumerate(calibrated or ()) if images < PER_EXPERT}
    if few:
        warnings.warn(
            f"litert: fewer than {PER_EXPERT} representative images are routed to some experts (expert: "
            f"images): {few}. Those that the gate puts nearest calibrated them too. Add images that reach them.",
            stacklevel=3,
        )
