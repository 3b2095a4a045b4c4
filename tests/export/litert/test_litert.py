"""LiteRT files agree with their Keras models, run only chosen experts, and are refused when they were altered."""

import dataclasses
import functools
import json

import keras
import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="needs the extra `litert`")
pytest.importorskip("tensorflow", reason="LiteRT files are converted by TensorFlow")

from keras_moe import zoo
from keras_moe.cli import main
from keras_moe.datasets import digits
from keras_moe.export import IntegrityError, LiteRTModel, litert
from keras_moe.export.flatbuffer import operations, tensors
from keras_moe.export.litert import convert, interpreters
from keras_moe.models import Classifier, MoEModel, Patcher, SegmentationMoE, SuperResolutionNetwork, UNet
from keras_moe.weights import read_tensors

# One worker, which makes each file once.
pytestmark = pytest.mark.xdist_group("export")

IMAGES = digits()[1][0]
# From another backend each export is a process of its own, which the first test goes through.
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="converted on TensorFlow")


@functools.cache
def loaded(name):
    """A published model that tests leave as it is."""
    return zoo.load(name)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """``(name, form, quantize) -> (path, report)``, each made once."""
    folder = tmp_path_factory.mktemp("exported")

    @functools.cache
    def make(name, form="routed", quantize=None):
        path = folder / f"{name}_{form}_{quantize}{'.json' if form == 'parts' else '.tflite'}"
        given = {"representative_dataset": digits()[0][0][:300]} if quantize == "int8" else {}
        return path, litert(loaded(name), path, form, quantize, images=IMAGES, card=zoo.card(name), **given)

    return make


def test_routed_file_of_any_backend(exported):
    path, report = exported("test_hydranet")
    assert report["conditions"] == len(loaded("test_hydranet").bank.experts)
    assert report["parity"]["images"] == len(IMAGES)
    assert report["parity"]["routing_agreement"] == report["parity"]["prediction_agreement"] == 1
    model = LiteRTModel(path)
    assert model.labels == zoo.card("test_hydranet").classes
    expected, route = loaded("test_hydranet").predict_routed(IMAGES[:5])
    np.testing.assert_allclose(model.predict(IMAGES[:5]), expected, atol=1e-5)
    np.testing.assert_array_equal(model.route(IMAGES[:5]) != 0, route != 0)
    assert json.loads(path.with_suffix(".report.json").read_text()) == report
    assert report["bytes"] == path.stat().st_size


@on_tensorflow
@pytest.mark.parametrize("form", ["parts", "dense"])
def test_other_forms(exported, form):
    path, report = exported("test_single_gated", form)
    assert report["conditions"] == 0
    assert report["parity"]["routing_agreement"] == report["parity"]["prediction_agreement"] == 1
    route = LiteRTModel(path).route(IMAGES[:50])
    assert 0 < np.mean(~np.any(route, axis=1)) < 1, "some of these digits leave early, some do not"


@on_tensorflow
@pytest.mark.parametrize("quantize", [None, "float16"])
@pytest.mark.parametrize("name", ["test_segmentation", "test_classsr"])
def test_other_systems(name, quantize, tmp_path):
    model = loaded(name)
    images = read_tensors(zoo.store.published_folder() / name / "golden.safetensors")["images"]
    report = litert(model, tmp_path / "x.tflite", quantize=quantize, images=images, card=zoo.card(name))
    assert report["conditions"] == len(model.bank.experts)
    assert report["parity"]["routing_agreement"] == 1
    assert report["parity"]["max_error"] < 0.01


@on_tensorflow
def test_nested_networks_whose_layers_share_names(tmp_path):
    model = SegmentationMoE((32, 32, 3), 0.25, "resnet8", classes=3)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), "uint8")
    report = litert(model, tmp_path / "x.tflite", quantize="int8", representative_dataset=images, check_parity=False)
    assert report["conditions"] == 0
    report = litert(model, tmp_path / "x.tflite", images=images)
    assert report["parity"]["max_error"] < 1e-4


@on_tensorflow
@pytest.mark.parametrize("model", [Patcher, UNet])
def test_decoders_on_a_backbone(model, tmp_path):
    network = model(
        (32, 32, 3), backbone="litenet", alpha=0.5, classes=3, **{"filters": (4, 4, 8)} if model is UNet else {}
    )
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("float32")
    report = litert(network, tmp_path / "x.tflite", quantize="int8", representative_dataset=images, check_parity=False)
    assert report["bytes"] < 200_000
    assert litert(network, tmp_path / "x.tflite", images=images)["parity"]["max_error"] < 1e-4
    predictions, route = LiteRTModel(tmp_path / "x.tflite").predict_routed(images)
    np.testing.assert_allclose(predictions, network.predict(images, verbose=0), atol=1e-4)
    assert route is None or route.shape == (4, 16, 16, 4)


def segmenter(side, **options):
    """A mixture of two networks of three convolutions and a norm."""
    x = images = keras.Input((side, side, 3))
    x = keras.layers.Conv2D(8, 4, 4, use_bias=False, name="conv")(keras.layers.Rescaling(1 / 255, name="scaling")(x))
    x = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="norm")(x))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="deep")(x)
    x = keras.layers.Conv2D(4, 3, padding="same", name="predictions")(keras.layers.UpSampling2D(4, name="up")(x))
    return SegmentationMoE.from_network(keras.Model(images, x), **options)


@on_tensorflow
def test_a_branch_that_does_not_run_stores_no_map_of_zeros(tmp_path):
    def size(side):
        images = np.zeros((1, side, side, 3), "float32")
        return litert(segmenter(side, sparse=True), tmp_path / "x.tflite", images=images)["bytes"]

    assert size(64) - size(32) < 1000


@on_tensorflow
@pytest.mark.parametrize("sparse", [False, True])
def test_where_pixels_are_classified_the_image_is_read_and_experts_are_combined_in_float(tmp_path, sparse):
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3)).astype("float32")
    model = segmenter(32, sparse=sparse)
    litert(model, tmp_path / "x.tflite", quantize="int8", representative_dataset=images, check_parity=False)
    data, kinds = (tmp_path / "x.tflite").read_bytes(), {}
    for channels, kind in _convolutions(data):
        kinds.setdefault(channels == 3, set()).add(kind)
    assert kinds[True] == {"FLOAT32"}
    assert "INT8" in kinds[False]
    if sparse:
        of_experts = {int(t) for _, _, op in _ran(data, "IF") for t in op.outputs}
        sums = [(graph, op) for number, graph, op in _ran(data, "ADD") if number == 0 and of_experts & set(op.inputs)]
        assert {_type(graph.tensors[op.outputs[0]]) for graph, op in sums} == {"FLOAT32"}


def _convolutions(data):
    """``(channels, type)`` of the kernel of each convolution, whatever graph it is in."""
    for _, graph, op in _ran(data, "CONV_2D"):
        kernel = graph.tensors[op.inputs[1]]
        yield kernel.shape[-1], _type(kernel)


def _ran(data, name):
    """``(number of the graph, graph, operation)`` of each operation called ``name``."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(data))
    for number, graph in enumerate(model.subgraphs):
        for op in graph.operators or ():
            if flatbuffer_utils.opcode_to_name(model, op.opcodeIndex) == name:
                yield number, graph, op


def _type(tensor):
    from ai_edge_litert import schema_py_generated as schema

    (name,) = (name for name, value in vars(schema.TensorType).items() if value == tensor.type and name.isupper())
    return name


@on_tensorflow
def test_parts_run_only_what_is_chosen(exported, monkeypatch):
    model, ran, run = LiteRTModel(exported("test_single_gated", "parts")[0]), [], interpreters.LiteRTGraph.__call__
    (graphs,) = model._pool._made
    names = {graph: name for name, graph in graphs.items()}
    monkeypatch.setattr(interpreters.LiteRTGraph, "__call__", lambda g, x: ran.append(names[g]) or run(g, x))
    route = model.route(IMAGES[:20])
    assert [name for name in ran if "expert" in name] == [f"expert_{k}" for row in route for k in np.flatnonzero(row)]


@on_tensorflow
def test_int8_parts_are_integers_at_their_borders(exported):
    path, report = exported("test_hydranet", "parts", "int8")
    parts = {part["name"]: part for part in json.loads(path.read_text())["parts"]}
    assert {"trunk", "router", "head", "expert_0"} <= set(parts)
    for name, part in parts.items():
        kinds = {tensor["dtype"] for tensor in (*part["inputs"], *part["outputs"])}
        assert kinds == ({"float32"} if name == "router" else {"int8"})
    trunk, router = (operations((path.parent / parts[name]["file"]).read_bytes()) for name in ("trunk", "router"))
    assert "FULLY_CONNECTED" in router, "what decides the route is in float"
    assert "MEAN" in trunk, "pooling is the accelerator's"
    assert report["parity"]["routing_agreement"] >= 0.98
    assert all(count >= 20 for count in report["calibration"])


@on_tensorflow
def test_int8_keeps_the_routing(exported):
    small, large = (exported("test_hydranet", quantize=q)[1] for q in ("int8", None))
    assert small["bytes"] < 0.75 * large["bytes"]
    assert small["conditions"] == large["conditions"]
    assert small["parity"]["routing_agreement"] >= 0.98
    assert small["trunk_precision"] == "int8", "the trunk need not stay in float"
    assert (
        abs(_accuracy(exported("test_hydranet", quantize="int8")[0]) - _accuracy(exported("test_hydranet")[0])) < 0.02
    )


@on_tensorflow
def test_float16_decides_the_route_in_float32(exported):
    path, report = exported("test_hydranet", quantize="float16")
    halves = [(number, graph.tensors[op.inputs[0]]) for number, graph, op in _ran(path.read_bytes(), "DEQUANTIZE")]
    kernels = [number for number, tensor in halves if np.size(tensor.shape) == 4]
    assert len(kernels) == 3 * report["conditions"], "each convolution of each expert"
    assert 0 not in kernels, "the main graph"
    assert report["bytes"] < exported("test_hydranet")[1]["bytes"]
    assert report["parity"]["routing_agreement"] == report["parity"]["prediction_agreement"] == 1
    parts, _ = exported("test_hydranet", "parts", "float16")
    files = [parts.parent / f"{parts.stem}.{part}.tflite" for part in ("trunk", "router", "expert_0")]
    assert ["DEQUANTIZE" in operations(file.read_bytes()) for file in files] == [False, False, True]


@on_tensorflow
def test_int8_of_an_expert_that_no_calibration_image_chose(tmp_path):
    model, learn, path = loaded("test_hydranet"), digits()[0][0], tmp_path / "x.tflite"
    ran = model.route(learn) != 0
    rare = int(ran.mean(axis=0).argmin())
    others = learn[~ran[:, rare]][:300]
    with pytest.warns(UserWarning, match=rf"fewer than 20 .* \{{{rare}: 0\}}"):
        report = litert(model, path, quantize="int8", representative_dataset=others, images=IMAGES)
    assert [n == 0 for n in report["calibration"]] == [k == rare for k in range(len(report["calibration"]))]
    assert {_type(graph.tensors[op.outputs[0]]) for number, graph, op in _ran(path.read_bytes(), "CONV_2D")} == {"INT8"}
    assert [tensor["name"] for tensor in tensors(path.read_bytes())["inputs"]] == ["images"]
    theirs = IMAGES[model.route(IMAGES)[:, rare] != 0]
    assert len(theirs) > 20
    assert np.mean(np.abs(LiteRTModel(path).predict(theirs) - model.predict(theirs, verbose=0))) < 0.01


@on_tensorflow
def test_int8_sums_what_the_experts_return_in_float(exported):
    data = exported("test_hydranet", quantize="int8")[0].read_bytes()

    def made(name, in_branch):
        ran = [(graph, op) for number, graph, op in _ran(data, name) if bool(number) == in_branch]
        return [_type(graph.tensors[op.outputs[0]]) for graph, op in ran]

    experts = len(loaded("test_hydranet").bank.experts)
    assert made("ADD", in_branch=False)[1 - experts :] == ["FLOAT32"] * (experts - 1)
    assert made("MUL", in_branch=True) == ["FLOAT32"] * experts
    assert "INT8" in made("CONV_2D", in_branch=True)


def _accuracy(path):
    return np.mean(LiteRTModel(path).predict(IMAGES).argmax(-1) == digits()[1][1])


@on_tensorflow
def test_a_dense_network(exported, tmp_path):
    network = Classifier((8, 8, 1), 0.25, "resnet8", classes=3)
    report = litert(network, tmp_path / "dense.tflite", labels=list("abc"), images=IMAGES[:4])
    model = LiteRTModel(tmp_path / "dense.tflite")
    assert (model.labels, report["num_experts"]) == (("a", "b", "c"), 0)
    np.testing.assert_allclose(model.predict(IMAGES[:4]), network.predict(IMAGES[:4], verbose=0), atol=1e-5)
    with pytest.raises(ValueError, match="no gate and no route"):
        model.route(IMAGES[:1])


@on_tensorflow
def test_an_operation_without_a_builtin_is_named(tmp_path):
    class Odd(keras.layers.Layer):
        def call(self, x):
            import tensorflow as tf

            return tf.math.betainc(tf.nn.sigmoid(x), 0.5, 0.5)

    source = Classifier((8, 8, 1), 0.25, "resnet8", classes=3)
    network = MoEModel(source.inputs, Odd(name="odd_one")(source.output), parts={})
    with pytest.raises(ValueError, match=r"no builtin operation.*Betainc.*odd_one"):
        litert(network, tmp_path / "x.tflite", images=IMAGES[:2])
    assert not list(tmp_path.iterdir())


@on_tensorflow
def test_bench_times_a_model_its_dense_form_and_its_baseline(exported, capsys, monkeypatch, tmp_path):
    def copied(model, path, *args, **kwargs):
        path.write_bytes(exported("test_hydranet")[0].read_bytes())

    monkeypatch.setattr("keras_moe.export.litert", copied)
    card = dataclasses.replace(zoo.card("test_hydranet"), baseline="test_hydranet")
    monkeypatch.setattr(zoo, "card", lambda name, **options: card)
    assert main(["bench", "test_hydranet", "--threads", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["file"] for row in rows} == {"test_hydranet routed", "test_hydranet dense"}
    assert all(0 < row["p50_ms"] <= row["p95_ms"] for row in rows)
    assert sum(row["images"] for row in rows if row["route"] != "all") == sum(
        row["images"] for row in rows if row["route"] == "all"
    )
    (tmp_path / "x.tflite").write_bytes(b"TFL3")
    assert main(["bench", str(tmp_path / "x.tflite")]) == 1


@on_tensorflow
def test_any_altered_byte_is_refused(exported, tmp_path):
    data = exported("test_hydranet")[0].read_bytes()
    path = tmp_path / "altered.tflite"
    for at in range(0, len(data), max(1, len(data) // 50)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(IntegrityError):
            LiteRTModel(path)
    for cut in (0, 3, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(IntegrityError):
            LiteRTModel(path)


@on_tensorflow
def test_an_altered_part_or_manifest_is_refused(exported, tmp_path):
    source = exported("test_single_gated", "parts")[0]
    for file in source.parent.glob(f"{source.stem}.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    manifest, expert = tmp_path / source.name, tmp_path / f"{source.stem}.expert_1.tflite"
    LiteRTModel(manifest)
    whole = expert.read_bytes()
    expert.write_bytes((tmp_path / f"{source.stem}.expert_0.tflite").read_bytes())  # sound, but another's
    with pytest.raises(IntegrityError, match="sha256"):
        LiteRTModel(manifest)
    expert.write_bytes(whole)
    manifest.write_text(manifest.read_text().replace('"expert_1"', '"expert_2"', 1))
    with pytest.raises(IntegrityError, match="altered"):
        LiteRTModel(manifest)
    manifest.write_text("[1]")
    with pytest.raises(IntegrityError, match="not a manifest"):
        LiteRTModel(manifest)


@on_tensorflow
def test_bad_images(exported):
    model = LiteRTModel(exported("test_hydranet")[0])
    for images in (IMAGES[0], IMAGES[:0], IMAGES[:1, :4]):
        with pytest.raises(ValueError, match="Expected"):
            model.predict(images)
    with pytest.raises(FileNotFoundError):
        LiteRTModel("no.tflite")


@on_tensorflow
@pytest.mark.parametrize(
    ("make", "clipped"),
    [
        (lambda: Classifier((8, 8, 3), 0.25, "resnet8", classes=3), True),
        (lambda: SuperResolutionNetwork((8, 8, 3), "fsrcnn", 6, 2), False),
    ],
)
def test_rare_values_are_clipped_but_not_in_a_picture(make, clipped, tmp_path, monkeypatch):
    def without(calibrated, plain, samples, clipped):
        asked.append(clipped)
        return calibrated

    asked, images = [], np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3))
    monkeypatch.setattr(convert, "refined", without)
    litert(make(), tmp_path / "x.tflite", quantize="int8", representative_dataset=images, check_parity=False)
    assert asked == [clipped]
