"""Exported files in the tools of microcontrollers and NPUs: same predictions and experts, nothing elsewhere unsaid."""

import functools
import pathlib
import runpy
import sys

import keras
import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="needs the extra `litert`")
pytest.importorskip("tensorflow", reason="LiteRT files are converted by TensorFlow")
pytest.importorskip("tflite_micro", reason="needs the extra `edge`")
pytest.importorskip("ethosu", reason="needs the extra `edge`")

from keras_moe import zoo
from keras_moe.cli import main
from keras_moe.datasets import digits
from keras_moe.export import LiteRTModel, litert
from keras_moe.export.targets import tflm
from keras_moe.images import crops
from keras_moe.models import Classifier, MoEModel
from keras_moe.recipes.publishing.edge_figures import graphs_of

pytestmark = [
    pytest.mark.xdist_group("export"),
    pytest.mark.filterwarnings("ignore:litert. fewer than 20"),
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="converted on TensorFlow"),
]
ROOT = pathlib.Path(__file__).parents[3]
IMAGES, LEARN = digits()[1][0], digits()[0][0]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """``(name, form, quantize, target) -> (path, report)``, each made once."""
    folder = tmp_path_factory.mktemp("exported")

    @functools.cache
    def make(name, form, quantize, target):
        path = folder / f"{name}_{form}_{quantize}_{target}{'.json' if form == 'parts' else '.tflite'}"
        given = {"representative_dataset": LEARN[:100]} if quantize == "int8" else {}
        model, card = zoo.load(name), zoo.card(name)
        return path, litert(model, path, form, quantize, images=IMAGES[:20], card=card, target=target, **given)

    return make


@pytest.mark.parametrize(
    ("name", "form", "quantize"),
    [
        ("test_hydranet", "routed", "int8"),
        ("test_single_gated", "parts", "int8"),
        ("test_single_gated", "routed", None),
    ],
)
def test_a_microcontroller_gives_the_class_and_the_experts_of_litert(exported, name, form, quantize):
    path, report = exported(name, form, quantize, "tflm")
    images = IMAGES[:100]
    expected, route = LiteRTModel(path).predict_routed(images)
    predictions, found = LiteRTModel(path, runtime="tflm").predict_routed(images)
    least = 0.97 if quantize else 1  # kernels of int8 round one step apart: near ties fall the other way
    assert np.mean(predictions.argmax(-1) == expected.argmax(-1)) >= least
    assert np.mean(np.all((found != 0) == (route != 0), axis=-1)) >= least
    assert report["target"]["parity"]["images"] == 16
    for graph in report["target"]["graphs"].values():
        assert 1000 < graph["arena_bytes"] < 100_000
        assert {row["place"] for row in graph["operators"]} == {"tflite-micro"}
    header = path.with_suffix(".h").read_text()
    assert f"_ROUTE_GRAPH {1 if form == 'parts' else 0} " in header
    assert f"_GRAPHS {len(report['target']['graphs'])}\n" in header


@pytest.mark.parametrize("name", ["hydranet_cifar100/parts_int8.json", "hydranet_cifar100/routed_int8.tflite"])
def test_published_files_run_on_a_microcontroller(name):
    images = crops((32, 32, 3), 3)
    path = zoo.store.published_folder() / name
    expected, route = LiteRTModel(path).predict_routed(images)
    predictions, found = LiteRTModel(path, runtime="tflm").predict_routed(images)
    np.testing.assert_array_equal(found != 0, route != 0)
    np.testing.assert_array_equal(predictions.argmax(-1), expected.argmax(-1))


def test_a_published_mixture_fits_a_chip_of_512_kb_flash_and_256_kb_ram():
    graphs = graphs_of(zoo.store.published_folder() / "hydranet_cifar100_coarse" / "parts_int8.json").values()
    assert sum(map(len, graphs)) < 512_000
    assert max(tflm.TFLMGraph(data).arena_bytes() for data in graphs) < 256_000


def test_nan_is_never_routed_on_a_microcontroller(exported):
    model = LiteRTModel(exported("test_single_gated", "routed", None, "tflm")[0], runtime="tflm")
    images = IMAGES[:1].copy()
    images[0, 3, 3] = np.nan
    predictions, route = model.predict_routed(images)
    assert np.isnan(route).all()
    assert np.isnan(predictions).all()


@pytest.mark.parametrize("name", ["test_single_gated", "hydranet_cifar100"])
def test_the_example_of_a_microcontroller_runs_the_chosen_experts(exported, name):
    if name.startswith("test_"):
        (path, _), images = exported(name, "parts", "int8", "tflm"), IMAGES[:6]
    else:  # published, with two outputs of its trunk
        path, images = zoo.store.published_folder() / name / "parts_int8.json", crops((32, 32, 3), 3)
    mixture = runpy.run_path(str(ROOT / "examples" / "microcontroller" / "loop.py"))["Mixture"](path)
    model = LiteRTModel(path, runtime="tflm")
    for image in images:
        prediction, route = mixture.classify(image.astype("float32"))
        (expected,), (weights,) = model.predict_routed(image[None])
        np.testing.assert_array_equal(route, weights)
        np.testing.assert_allclose(prediction, expected, atol=0.01)  # a step of int8
        assert mixture.ran == ["trunk", "router", *(f"expert_{k}" for k in np.flatnonzero(route)), "head"]


def test_float16_does_not_run_on_a_microcontroller(tmp_path):
    model = zoo.load("test_hydranet")
    with pytest.raises(ValueError, match=r"tflite-micro cannot run the file.*give quantize=None or 'int8'"):
        litert(model, tmp_path / "x.tflite", quantize="float16", images=IMAGES[:4], target="tflm")
    assert not list(tmp_path.iterdir())


def test_trunk_experts_and_head_run_on_the_npu(exported):
    accelerator = "ethos-u55-128"
    path, report = exported("test_hydranet", "parts", "int8", accelerator)
    graphs = report["target"]["graphs"]
    for name in graphs.keys() - {"router"}:
        assert {row["place"] for row in graphs[name]["operators"]} == {"NPU"}, name
        assert min(graphs[name][figure] for figure in ("cycles", "macs", "file_bytes")) > 0
    router = {row["operation"]: row for row in graphs["router"]["operators"] if row["place"] == "CPU"}
    assert "Float32" in router["FULLY_CONNECTED"]["reason"]
    assert router["SUM"]["layer"] == "top_k"
    compiled = path.parent / f"{path.stem}.expert_0.{accelerator}.tflite"
    assert compiled.stat().st_size == graphs["expert_0"]["file_bytes"]


def test_what_falls_off_the_npu_is_a_warning_or_strictly_an_error(tmp_path):
    class Fold(keras.layers.Layer):
        def call(self, x):
            return keras.ops.absolute(x)

    source = Classifier((8, 8, 1), 0.25, "resnet8", classes=3)
    outputs = keras.layers.Dense(3, name="last")(Fold(name="fold")(source.output))
    network = MoEModel(source.inputs, outputs, parts={})
    arguments = {"quantize": "int8", "representative_dataset": LEARN[:20], "check_parity": False}
    path = tmp_path / "x.json"
    with pytest.raises(ValueError, match=r"ABS of 'fold' \(whole: .*other layers.*Nothing was written"):
        litert(network, path, "parts", **arguments, target="edgetpu", strict=True)
    assert not list(tmp_path.iterdir())
    with pytest.warns(UserWarning, match="ABS of 'fold'"):
        report = litert(network, path, "parts", **arguments, target="edgetpu")
    assert {row["place"] for row in report["target"]["graphs"]["whole"]["operators"]} == {"CPU", "Edge TPU"}


def test_a_missing_tool_is_named_with_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ethosu", None)
    with pytest.raises(ImportError, match=r"keras-moe\[edge\]"):
        litert(zoo.load("test_hydranet"), tmp_path / "x.json", "parts", target="ethos-u55-128")


def test_the_command_tells_what_runs_where(tmp_path, capsys):
    out = str(tmp_path / "x.tflite")
    assert main(["export", "test_hydranet", out, "--target", "tflm"]) == 0
    printed = capsys.readouterr().out
    assert "operations on tflite-micro; file_bytes" in printed
    assert "arena_bytes" in printed
