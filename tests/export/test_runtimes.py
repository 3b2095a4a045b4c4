"""Models on other runtimes compute the route there: a file holds no route of the example that it was made from."""

import contextlib

import keras
import numpy as np
import pytest
from descriptors import PATCHER, deciding_moe

from keras_moe.layers import ExpertBank, TopKGate, every_expert
from keras_moe.models import Classifier, Patcher

BACKEND = keras.backend.backend()
BACKBONE = {"backbone": "resnet8", "alpha": 0.5, "classes": 3}
on_torch = pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's tracers")
# Keras' exporters warn of their own converters.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("runtimes")]


@pytest.fixture(scope="module")
def deciding():
    """``(model, images, predictions)``; the images take four routes."""
    model, images = deciding_moe()
    assert len({tuple(row) for row in model.route(images) != 0}) == 4
    return model, images, model.predict(images, verbose=0)


def saved_model(path):
    import tensorflow as tf

    model = tf.saved_model.load(path)
    return lambda images: np.asarray(model.serve(images))


def onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    (image,) = session.get_inputs()
    return lambda images: session.run(None, {image.name: images})[0]


def exported_program(path):
    import torch

    program = torch.export.load(path).module()
    return lambda images: np.concatenate([program(torch.tensor(image[None])).detach() for image in images])


FORMATS = {  # name -> what runs it, its suffix, the packages that write and run it
    "tf_saved_model": (saved_model, "", ["tensorflow"]),
    "onnx": (onnx, ".onnx", ["onnxruntime"] + ["tf2onnx"] * (BACKEND == "tensorflow")),
    "torch": (exported_program, ".pt2", []),
}
WRITTEN = {"tensorflow": ["tf_saved_model", "onnx"], "jax": ["tf_saved_model"], "torch": ["onnx", "torch"]}


def runner(format):
    """What runs a file of ``format``, and its suffix; the test is skipped where the packages are not there."""
    run, suffix, packages = FORMATS[format]
    for package in packages:
        pytest.importorskip(package)
    return run, suffix


def one_by_one(run, images):
    return np.concatenate([run(image[None]) for image in images])


def signature(rows, images):
    return [keras.InputSpec(shape=(rows, *images.shape[1:]), dtype="float32")]


@pytest.mark.parametrize("format", WRITTEN[BACKEND])
def test_a_file_routes_each_image(format, deciding, tmp_path):
    run, suffix = runner(format)
    model, images, expected = deciding
    path = str(tmp_path / f"model{suffix}")
    model(images[:1])  # to ONNX Keras exports what has been called
    model.export(path, format, verbose=False)
    np.testing.assert_allclose(run(path)(images), expected, atol=1e-5)


@pytest.mark.parametrize("format", [format for format in WRITTEN[BACKEND] if format != "torch"])
def test_a_file_for_one_image_routes_it(format, deciding, tmp_path):
    run, suffix = runner(format)
    model, images, expected = deciding
    path = str(tmp_path / f"model{suffix}")
    model.export(path, format, verbose=False, input_signature=signature(1, images))
    np.testing.assert_allclose(one_by_one(run(path), images), expected, atol=1e-5)


@pytest.mark.parametrize("rows", [None, 1])
def test_an_archive_of_keras_routes_each_image(rows, deciding, tmp_path):
    model, images, expected = deciding
    archive, path = keras.export.ExportArchive(), str(tmp_path / "archive")
    if BACKEND == "torch":  # Keras has no such archive there, and says so
        with pytest.raises(NotImplementedError, match="not supported"):
            archive.track(model)
        return
    archive.track(model)
    archive.add_endpoint("serve", model.__call__, input_signature=signature(rows, images))
    archive.write_out(path, verbose=False)
    run = saved_model(path)
    np.testing.assert_allclose(one_by_one(run, images) if rows else run(images), expected, atol=1e-5)


@pytest.mark.parametrize("format", WRITTEN[BACKEND])
def test_a_model_of_one_s_own_with_a_bank_routes_each_image(format, deciding, tmp_path):
    """``keras.Model`` and what holds it know nothing of banks; on TensorFlow ONNX needs ``every_expert``."""
    run, suffix = runner(format)
    model, images, expected = deciding
    plain, path = keras.Model(model.input, model.output), str(tmp_path / f"plain{suffix}")
    assert type(plain).export is keras.Model.export
    plain(images[:1])
    with every_expert() if format == "onnx" and BACKEND == "tensorflow" else contextlib.nullcontext():
        plain.export(path, format, verbose=False)
    np.testing.assert_allclose(run(path)(images), expected, atol=1e-5)


def test_a_patcher_becomes_onnx_or_says_how(tmp_path):
    model, path = Patcher(**PATCHER), str(tmp_path / "patcher.onnx")
    images = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype("float32")
    expected = model.predict(images, verbose=0)
    fixed = {"input_signature": signature(1, images)}
    for wrong in ({}, {"input_signature": signature(None, images)}, *([fixed] if BACKEND != "torch" else [])):
        with pytest.raises(ValueError, match=r"KERAS_BACKEND=torch.*shape=\(1, 8, 8, 3\)"):
            model.export(path, "onnx", verbose=False, **wrong)
    if BACKEND == "torch":
        run, _ = runner("onnx")
        model.export(path, "onnx", verbose=False, **fixed)
        np.testing.assert_allclose(one_by_one(run(path), images), expected, atol=1e-5)


@pytest.mark.skipif("onnx" not in WRITTEN[BACKEND], reason="ONNX is written on TensorFlow and PyTorch")
def test_a_patcher_on_a_backbone_becomes_onnx_for_any_number_of_images(tmp_path):
    run, suffix = runner("onnx")
    model, path = Patcher((8, 8, 3), {"decoder_filters": 4}, **BACKBONE), str(tmp_path / f"patcher{suffix}")
    images = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype("float32")
    expected = model.predict(images, verbose=0)
    model.export(path, "onnx", verbose=False)
    np.testing.assert_allclose(run(path)(images), expected, atol=1e-5)


def test_a_format_that_cannot_hold_the_route_is_refused(deciding, tmp_path):
    model, _, _ = deciding
    format, elsewhere = {
        "tensorflow": ("torch", r"\['torch'\]"),
        "jax": ("onnx", r"\['tensorflow', 'torch'\]"),
        "torch": ("tf_saved_model", r"\['tensorflow', 'jax'\]"),
    }[BACKEND]
    with pytest.raises(ValueError, match=f"can be had on {elsewhere}: set KERAS_BACKEND"):
        model.export(tmp_path / "x", format)
    with pytest.raises(ValueError, match="on no backend"):
        model.export(tmp_path / "x", "tflite")
    with pytest.raises(ValueError, match="Unrecognized format=tflite"):  # Keras', of a network without a gate
        Classifier((8, 8, 1), 0.25, "resnet8", classes=3).export(tmp_path / "x", "tflite")


@on_torch
@pytest.mark.parametrize(("rows", "grad"), [(1, False), (1, True), (3, False)])
def test_a_trace_routes_each_image(rows, grad, deciding):
    import torch

    model, images, expected = deciding
    with torch.set_grad_enabled(grad):
        traced = torch.jit.trace(model, (torch.tensor(images[:rows]),))
    np.testing.assert_allclose(traced(torch.tensor(images)).detach(), expected, atol=1e-5)


@on_torch
def test_an_exported_program_routes_each_image(deciding):
    import torch

    model, images, expected = deciding
    program = torch.export.export(model, (torch.tensor(images[:2]),), strict=False).module()
    got = [program(torch.tensor(images[i : i + 2])).detach() for i in range(0, len(images), 2)]
    np.testing.assert_allclose(np.concatenate(got), expected, atol=1e-5)


def bank(rows, name, experts):
    logits = keras.layers.Dense(len(experts), name=f"{name}_gate")(rows)
    return ExpertBank(experts, name=name)(rows, TopKGate(top_k=1, name=f"{name}_route")(logits))


def mixture(name):
    rows = keras.Input((4,))
    return keras.Model(rows, bank(rows, name, [keras.layers.Dense(2, name=f"{name}_{k}") for k in range(3)]))


def test_a_mixture_as_an_expert_routes_each_row():
    """On PyTorch an expert runs as a trace of itself, in which a bank inside it must not keep one route."""
    rows = keras.Input((4,))
    model = keras.Model(rows, bank(rows, "outer", [mixture("left"), mixture("right")]))
    rng, kernels = np.random.default_rng(0), {}
    for weight in model.weights:
        if weight.path.endswith("kernel"):
            kernels[weight.path.split("/")[-2]] = kernel = rng.normal(size=weight.shape)
            weight.assign(kernel)
    x = rng.normal(size=(40, 4)).astype("float32")
    wanted, taken = [], set()
    for row in x:
        side = ("left", "right")[np.argmax(row @ kernels["outer_gate"])]
        expert = f"{side}_{np.argmax(row @ kernels[f'{side}_gate'])}"
        wanted.append(row @ kernels[expert])
        taken.add(expert)
    assert len(taken) == 6
    np.testing.assert_allclose(model.predict(x, verbose=0), wanted, atol=1e-5)
    alone = np.concatenate([model.predict_on_batch(row[None]) for row in x])
    np.testing.assert_allclose(alone, wanted, atol=1e-5)
