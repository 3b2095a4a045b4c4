"""Compression: clones that predict alike, constraints that hold, frozen parts that stay as they are."""

import importlib.util
import os
import subprocess

import keras
import numpy as np
import pytest
from descriptors import HYDRA, TINY
from keras import layers

from keras_moe.export import compress
from keras_moe.export.compression.arguments import networks
from keras_moe.graph import open_graph
from keras_moe.models import Classifier, HydraNet, upcycle

needs_tf_keras = pytest.mark.skipif(not importlib.util.find_spec("tf_keras"), reason="tf_keras is not installed")
needs_tfmot = pytest.mark.skipif(
    not (importlib.util.find_spec("tensorflow_model_optimization") and importlib.util.find_spec("tf_keras")),
    reason='tensorflow-model-optimization is not installed: pip install "keras-moe[tfmot]"',
)
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="transcribed on TensorFlow only")

from_elsewhere = pytest.mark.skipif(
    keras.backend.backend() == "tensorflow", reason="there pruning and QAT go through the same process"
)


def data(n=64, size=8):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, size, size, 3), "uint8"), rng.integers(0, 5, n)


def small(activation="softmax"):
    x = images = keras.Input((8, 8, 3), name="images")
    x = layers.Rescaling(1 / 127.5, -1.0, name="scaling")(x)
    x = layers.Conv2D(8, 3, 2, "same", use_bias=False, name="conv")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.ReLU(6.0, name="relu6")(layers.Conv2D(12, 3, name="deep")(x))
    x = layers.Dense(5, activation, name="logits")(layers.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(images, x, name="small")


def shaken(model):
    """Weights that are nobody's initial ones, so that a weight left behind shows; none is negative."""
    rng = np.random.default_rng(1)
    floats = [w for w in model.weights if keras.backend.is_float_dtype(w.dtype)]
    for w in floats:
        w.assign(rng.uniform(0.5, 1.0, w.shape) * 4 / max(1, np.prod(w.shape[:-1])))
    return model


def every_layer():
    x = images = keras.Input((8, 8, 3))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(layers.Identity()(x))
    x = layers.LeakyReLU(0.3)(layers.DepthwiseConv2D(3, depth_multiplier=2)(x))
    x = layers.SeparableConv2D(8, 3, padding="same", activation="gelu")(x)
    x = layers.ELU(0.5)(x)
    y = layers.Conv2DTranspose(8, 2, 2)(layers.AveragePooling2D(2, padding="same")(x))
    y = layers.Cropping2D(((0, 1), (1, 0)))(y)
    x = layers.Average()([x, y])
    x = (keras.ops.relu6(x + 3.0) * 0.25 - 1.0) / 2.0
    x = keras.ops.concatenate([1.0 - x, keras.ops.silu(x), x * x], axis=-1)
    x = layers.Multiply()([x, layers.Activation("sigmoid")(layers.LayerNormalization()(x))])
    x = layers.UpSampling2D(2)(layers.MaxPooling2D(2)(layers.SpatialDropout2D(0.2)(x)))
    x = layers.Permute((2, 1))(layers.Reshape((-1, x.shape[-1]))(x))
    return keras.Model(images, layers.Dense(3, "softmax")(layers.Dropout(0.1)(layers.Flatten()(x))))


CLONES = {
    "small": small,
    "every_layer": every_layer,
    "classifier": lambda: Classifier(**TINY),
    "litenet": lambda: Classifier(**{**TINY, "backbone": "litenet"}, classifier_activation=None),
    "branch": lambda: HydraNet(**HYDRA).bank.experts[1],
    "expert": lambda: upcycle(Classifier(**TINY), num_experts=2).bank.experts[0],
    "upcycled": lambda: upcycle(small(), num_experts=2).get_layer("tail"),
}


@needs_tf_keras
@on_tensorflow
@pytest.mark.filterwarnings("ignore")  # tf_keras is at the end of its life
@pytest.mark.parametrize("make", CLONES.values(), ids=CLONES)
def test_a_clone_answers_as_its_model_and_gives_its_weights_back(make):
    from keras_moe.export.compression.tf_keras_clone import copy_back, transcribe

    model = shaken(make())
    graph = open_graph(model)
    clone = transcribe(graph)
    x = np.random.default_rng(0).random((4, *model.input_shape[1:])).astype("float32")
    expected = keras.tree.flatten(model(x))
    for a, b in zip(expected, keras.tree.flatten(clone(x)), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)
    before = model.get_weights()
    for w in model.weights:
        w.assign(keras.ops.zeros_like(w))
    copy_back(graph, lambda name: clone.get_layer(name).get_weights())
    floats = [w.path for w in model.weights if keras.backend.is_float_dtype(w.dtype)]
    for w, b in zip(model.weights, before, strict=True):
        assert w.path not in floats or np.array_equal(w, b)


def in_front(layer):
    x = keras.Input((8, 8, 3))
    return keras.Model(x, layers.Dense(5)(layers.Flatten()(layer(x))))


@needs_tf_keras
@on_tensorflow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: in_front(layers.GaussianNoise(0.1, name="noise")), "GaussianNoise 'noise'.*Layers with a clone"),
        (lambda: in_front(layers.Activation("hard_sigmoid", name="gate")), "'gate'.*'hard_sigmoid' is not one of"),
        (lambda: in_front(layers.Conv2D(3, 1, dtype="mixed_float16", name="half")), "'half'.*float16"),
        (lambda: in_front(keras.ops.flip), "Flip.*Write it as a layer"),
        (lambda: HydraNet(**HYDRA), "TopKGate 'top_k'"),
    ],
)
def test_a_layer_without_a_clone_is_named(make, message):
    from keras_moe.export.compression.tf_keras_clone import transcribe

    with pytest.raises(ValueError, match=message):
        transcribe(open_graph(make()))


def kernels(model):
    return {w.path: keras.ops.convert_to_numpy(w) for w in model.weights if len(w.shape) > 1}


@needs_tfmot
@on_tensorflow
def test_pruned_experts_are_sparse_and_the_rest_is_as_it_was():
    model = upcycle(small(), "relu", num_experts=2, system="hydranet", top_k=2)
    before = {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}
    images, labels = data()
    found = compress(model, (images, labels), "prune", sparsity=0.6, epochs=2, batch_size=16, verbose=0)
    assert [set(log) for log in found.logs] == [{"loss", "accuracy"}] * 2
    assert found.files == {}
    for w in model.weights:
        now = keras.ops.convert_to_numpy(w)
        if "branch" not in w.path:
            np.testing.assert_array_equal(now, before[w.path])
        elif now.ndim > 1:
            assert np.count_nonzero(now == 0) == round(0.6 * now.size)
            assert not np.array_equal(now, np.where(now == 0, 0, before[w.path]))  # those that are left have learned


@pytest.mark.once
@needs_tfmot
@from_elsewhere
def test_clustered_kernels_have_few_values():
    model = small(activation=None)
    before = kernels(model)
    compress(model, data(), "cluster", clusters=6, batch_size=32, augment=False, verbose=0)
    for path, kernel in kernels(model).items():
        assert 2 <= len(np.unique(kernel)) <= 6 < len(np.unique(before[path]))


@needs_tfmot
@on_tensorflow
def test_quantization_aware_training_ends_in_an_integer_file():
    interpreter_of = pytest.importorskip("ai_edge_litert.interpreter").Interpreter
    model = small()
    images, labels = data()
    found = compress(model, (images, labels), "qat", epochs=1, batch_size=16, verbose=0)
    assert list(found.files) == ["small"]
    assert np.isfinite([log["loss"] for log in found.logs]).all()
    interpreter = interpreter_of(model_content=found.files["small"])
    interpreter.allocate_tensors()
    given, returned = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert given["dtype"] == returned["dtype"] == np.int8
    assert tuple(given["shape"]) == (1, 8, 8, 3)
    assert not [t["name"] for t in interpreter.get_tensor_details() if t["dtype"] == np.float32]
    outputs = []
    for image in images:  # the scale of the input is 1: a pixel's value moved by 128
        interpreter.set_tensor(given["index"], (image.astype("int16") - 128).astype("int8")[None])
        interpreter.invoke()
        outputs.append((interpreter.get_tensor(returned["index"])[0] + 128.0) / 256)
    assert np.abs(np.array(outputs) - model.predict(images.astype("float32"), verbose=0)).mean() < 0.02


@pytest.mark.once
def test_what_is_compressed():
    hydra = HydraNet(**HYDRA)
    assert networks(hydra) == ["branches"]
    assert networks(hydra, ("stem", "combiner")) == ["stem", "combiner"]
    assert networks(Classifier(**TINY)) is None
    assert networks(Classifier(**TINY), ["head"]) == ["head"]
    assert networks(small()) is None


def two_outputs():
    x = keras.Input((8, 8, 3))
    flat = layers.Flatten()(x)
    return keras.Model(x, [layers.Dense(5)(flat), layers.Dense(5)(flat)])


def vectors():
    x = keras.Input((192,))
    return keras.Model(x, layers.Dense(5)(x))


@pytest.mark.once
@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (small, {"method": "squeeze"}, "`method` must be one of"),
        (small, {"sparsity": 1.0}, "`sparsity`"),
        (small, {"clusters": 1}, "`clusters`"),
        (small, {"epochs": 0}, "`epochs`"),
        (small, {"learning_rate": 0.0}, "`learning_rate`"),
        (small, {"batch_size": 65}, "in 1…64"),
        (small, {"parts": ("experts",)}, "expected an MoEModel"),
        (small, {"train": (data()[0], data()[1] + 1)}, "in 0…4"),
        (small, {"train": (data()[0], data()[1][1:])}, "of shape"),
        (small, {"train": data(size=9)}, r"\(n, 8, 8, 3\)"),
        (small, {"train": (np.full((64, 8, 8, 3), np.nan), data()[1])}, "finite"),
        (vectors, {"train": (data()[0].reshape(64, -1), data()[1])}, "`augment` must be False"),
        (two_outputs, {}, r"images to \(n, classes\)"),
        (lambda: Classifier(**TINY), {"parts": ("experts",)}, r"None or some of \['backbone', 'head'\]"),
        (lambda: Classifier(**TINY), {"parts": "head"}, "None or some of"),
        (lambda: HydraNet(**HYDRA), {"parts": ()}, "parts that hold a functional network"),
    ],
)
def test_bad_arguments(make, arguments, message):
    model = make()
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        compress(model, **{"train": data(), "method": "prune", "batch_size": 16, **arguments})
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.once
@needs_tfmot
def test_an_expert_without_images():
    model = HydraNet(**{**HYDRA, "top_k": 1})
    model.get_layer("gate").layers[-1].bias.assign([9.0, -9.0, 0.0])
    with pytest.raises(ValueError, match=r"none of the 64 images to.*branch_1"):
        compress(model, data(), "prune", batch_size=16)


@pytest.mark.once
def test_the_process_that_trains_imports_from_where_this_one_does(monkeypatch, tmp_path):
    class Started(Exception):
        pass

    def start(command, env, **kwargs):
        raise Started(env["KERAS_BACKEND"], env["PYTHONPATH"].split(os.pathsep)[0])

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)  # as if the extra were there
    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Started) as started:
        compress(small(), data(), "prune", batch_size=8)
    assert started.value.args == ("tensorflow", str(tmp_path))


@pytest.mark.once
def test_without_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"keras-moe\[tfmot\]"):
        compress(small(), data(), "prune", batch_size=8)
