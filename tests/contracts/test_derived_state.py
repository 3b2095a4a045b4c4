"""Layers that compute from values derived from their weights compute alike wherever their weights are copied to.

One network, made of identities around such a layer, whose outputs are worked out by hand.
"""

import pathlib

import keras
import numpy as np
import pytest
from keras import layers

from keras_moe.export import litert
from keras_moe.export.litert.parity import ParityError
from keras_moe.graph import open_graph, rebuild
from keras_moe.layer_state import copy_weights
from keras_moe.layer_state import set_weights as set_arrays
from keras_moe.models import HydraNet, SegmentationMoE, SingleGatedMoE, upcycle
from keras_moe.training import Recipe, train_experts
from keras_moe.training.checkpoint import Checkpoint, KeepBest
from keras_moe.weights import load_weights, save_weights

MEAN, VARIANCE = np.array([10.0, 20.0, 30.0]), np.array([4.0, 16.0, 100.0])
PIXEL = (12.0, 16.0, 40.0)  # a deviation more, one less and one more than the mean


@keras.saving.register_keras_serializable(package="tests")
class Divided(layers.Layer):
    """A layer of one's own that derives a value from its weight."""

    def build(self, shape):
        self.divisor = self.add_weight(shape=(), initializer="ones", name="divisor", trainable=False)
        self.built = True
        self.finalize_state()

    def finalize_state(self):
        self.factor = float(1 / keras.ops.convert_to_numpy(self.divisor))

    def call(self, x):
        return x * self.factor


class Table(layers.Layer):
    """A layer of one's own that keeps a number in a file beside the weights, as lookups keep their vocabulary.

    Without a number it passes everything through and keeps nothing.
    """

    number = None

    def finalize_state(self):
        pass

    def save_assets(self, folder):
        if self.number is not None:
            pathlib.Path(folder, "number").write_text(str(self.number))

    def load_assets(self, folder):
        self.number = float(pathlib.Path(folder, "number").read_text())

    def call(self, x):
        return x if self.number is None else x * self.number


def images(pixel=PIXEL):
    return np.broadcast_to(np.float32(pixel), (2, 2, 2, 3))


def adapted(layer, mean=MEAN, variance=VARIANCE):
    deviation = np.sqrt(np.asarray(variance))
    layer.adapt(np.stack([images(mean - deviation), images(mean + deviation)]).reshape(-1, 2, 2, 3))
    return layer


def normalization(known):
    return adapted(layers.Normalization(name="n")) if known else layers.Normalization(name="n")


def given(known):
    return layers.Normalization(mean=MEAN.tolist(), variance=VARIANCE.tolist(), name="n")


def one_for_all_channels(known):
    layer = layers.Normalization(axis=None, name="n")
    return adapted(layer, np.full(3, 20.0), np.full(3, 100.0)) if known else layer


def inverted(known):
    layer = layers.Normalization(invert=True, name="n")
    return adapted(layer) if known else layer


def nested(known):
    return keras.Sequential([keras.Input((2, 2, 3)), layers.Identity(), normalization(known)], name="nested")


def several(known):  # the second sees what the first gives, of mean 0 and deviation 1, and halves it
    second = layers.Normalization(name="n2")
    if known:
        adapted(second, np.zeros(3), np.full(3, 4.0))
    return keras.Sequential([keras.Input((2, 2, 3)), normalization(known), second], name="several")


def divided(known):
    layer = Divided(name="n")
    layer.build((None, 2, 2, 3))
    if known:
        layer.divisor.assign(4.0)
        layer.finalize_state()
    return layer


def binned(known):
    layer = layers.Discretization(num_bins=3, name="bins")
    layer.bin_boundaries = [15.0, 35.0]
    return keras.Sequential([keras.Input((2, 2, 3)), layer, layers.Rescaling(1.0, name="n")], name="binned")


# The logits are the first channel plus the third, and the second plus the third.
KINDS = {
    normalization: (2, 0),  # of 1, -1, 1
    given: (2, 0),
    one_for_all_channels: (1.2, 1.6),  # of -0.8, -0.4, 2
    inverted: (10 + 2 * 12 + 30 + 10 * 40, 20 + 4 * 16 + 30 + 10 * 40),
    nested: (2, 0),
    several: (1, 0),  # of 0.5, -0.5, 0.5
    divided: (13, 14),  # of 3, 4, 10
    binned: (2, 3),  # of 0, 1, 2
}


def network(kind, known=True):
    x = keras.Input((2, 2, 3))
    y = layers.Conv2D(3, 1, use_bias=False, name="stem")(x)
    y = kind(known)(y)
    y = layers.Conv2D(3, 1, use_bias=False, name="tail")(y)
    y = layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D(name="pool")(y))
    model = keras.Model(x, y)
    for name in ("stem", "tail"):
        model.get_layer(name).set_weights([np.eye(3).reshape(1, 1, 3, 3)])
    model.get_layer("logits").set_weights([np.array([[1, 0], [0, 1], [1, 1]]), np.zeros(2)])
    return model


def outputs(model):
    return model.predict(images(), verbose=0)


def copied(kind, folder):
    graph = open_graph(network(kind))
    return rebuild(graph.calls, graph.inputs[0], graph.output, "copied")


def trunk_of_single_gated(kind, folder):
    return upcycle(network(kind), "tail", num_experts=2)


def experts_of_single_gated(kind, folder):
    return upcycle(network(kind), "stem", num_experts=2)


def experts_of_hydranet(kind, folder):
    return upcycle(network(kind), "stem", num_experts=2, system="hydranet")


def trunk_of_hydranet(kind, folder):
    return HydraNet.from_classifier(network(kind), "tail", 2, classifier_activation=None)


def _blank(kind):
    return SingleGatedMoE.from_classifier(network(kind, known=False), "stem", 2, classifier_activation=None)


def grown(kind, folder):
    model = _blank(kind)
    model.init_from_classifier(network(kind))
    return model


def grown_from_one_branch(kind, folder):
    def hydra(known, branches):
        return HydraNet.from_classifier(network(kind, known), "stem", branches, top_k=1)

    model = hydra(False, 2)
    model.init_from_single_branch(hydra(True, 1))
    return keras.Model(model.inputs, model.get_layer("branches").output)  # its logits


def safetensors(kind, folder):
    model = _blank(kind)
    save_weights(experts_of_single_gated(kind, folder), folder / "x.safetensors")
    load_weights(model, folder / "x.safetensors")
    return model


def keras_file(kind, folder):
    experts_of_single_gated(kind, folder).save(folder / "x.keras")
    return keras.models.load_model(folder / "x.keras")


def set_weights(kind, folder):
    model = _blank(kind)
    model.set_weights(experts_of_single_gated(kind, folder).get_weights())
    return model


def checkpoint(kind, folder):
    model = _blank(kind)
    Checkpoint(folder).save(experts_of_single_gated(kind, folder), {})
    Checkpoint(folder).restore(model)
    return model


def best_epoch(kind, folder):
    source, model = experts_of_single_gated(kind, folder), _blank(kind)
    kept = KeepBest(Checkpoint(folder), source, "stage", patience=1)
    source.stop_training = False  # as in `fit`
    kept.set_model(source)
    kept.on_epoch_end(0, {"val_loss": 0.0})
    KeepBest(Checkpoint(folder), model, "stage", patience=1).restore()
    return model


WAYS = (
    copied, trunk_of_single_gated, experts_of_single_gated, experts_of_hydranet, trunk_of_hydranet, grown,
    grown_from_one_branch, safetensors, keras_file, set_weights, checkpoint, best_epoch,
)  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_of_copying_weights(way, tmp_path):
    np.testing.assert_allclose(outputs(way(several, tmp_path)), [[1, 0]] * 2, atol=1e-5)


@pytest.mark.parametrize(("kind", "expected"), KINDS.items(), ids=lambda kind: getattr(kind, "__name__", ""))
def test_every_kind_of_layer(kind, expected, tmp_path):
    for model in (network(kind), grown(kind, tmp_path), safetensors(kind, tmp_path)):
        np.testing.assert_allclose(outputs(model), [expected] * 2, rtol=1e-5, atol=1e-5)


def test_experts_that_come_back_from_their_training(tmp_path):
    model = upcycle(network(normalization), "stem", num_experts=2)
    standing_still = Recipe(epochs=1, batch_size=2, learning_rate=0.0, augment=False)
    train_experts(model, (np.uint8(images()), np.array([0, 1])), tmp_path, standing_still, verbose=0)
    np.testing.assert_allclose(outputs(model), [[2, 0]] * 2, atol=1e-5)


def test_arrays_that_are_set():
    model = keras.Sequential([keras.Input((3,)), Divided()])
    set_arrays(model, [np.float32(4)])
    np.testing.assert_allclose(model.predict(np.array([[4.0, 8.0, -2.0]]), verbose=0), [[1, 2, -0.5]])


@pytest.mark.parametrize(("number", "expected"), [(3.0, [3, -6]), (None, [1, -2])])
def test_what_is_kept_beside_the_weights_is_copied(number, expected):
    source, target = (keras.Sequential([keras.Input((2,)), Table(name="table")]) for _ in range(2))
    source.get_layer("table").number = number
    copy_weights(source, target)
    np.testing.assert_array_equal(target.predict(np.array([[1.0, -2.0]]), verbose=0), [expected])


def test_what_is_frozen_is_copied_to_what_learns():
    source = network(normalization)
    target = keras.models.clone_model(source)
    source.trainable = False
    copy_weights(source, target)
    np.testing.assert_allclose(outputs(target), [[2, 0]] * 2, atol=1e-5)


def test_new_weights_are_seen_after_the_first_predictions(tmp_path):
    model = _blank(normalization)
    np.testing.assert_allclose(outputs(model), [[52, 56]] * 2, atol=1e-3)
    save_weights(experts_of_single_gated(normalization, tmp_path), tmp_path / "x.safetensors")
    load_weights(model, tmp_path / "x.safetensors")
    np.testing.assert_allclose(outputs(model), [[2, 0]] * 2, atol=1e-5)
    np.testing.assert_allclose(model.predict_routed(images())[0], [[2, 0]] * 2, atol=1e-5)


def segmenter(mean, known=True):
    x = keras.Input((8, 8, 3))
    norm = layers.Normalization(name="norm")
    if known:
        adapted(norm, np.full(3, mean), np.ones(3))
    logits = layers.Conv2D(3, 1, use_bias=False, name="logits")
    model = keras.Model(x, logits(norm(x)))
    logits.set_weights([np.eye(3).reshape(1, 1, 3, 3)])
    return model


@pytest.mark.parametrize("sparse", [False, True])
def test_each_segmenter_keeps_its_own(sparse):
    model = SegmentationMoE.from_network(
        segmenter(0.0, known=False), features="logits", sparse=sparse, drop_below=1.0,
        classifier_activation=None,
    )  # fmt: skip
    model.init_from_networks([segmenter(1.0), segmenter(5.0)])
    x = np.full((4, 8, 8, 3), 6.0, "float32")
    route = np.float32([[1, 0], [0, 1], [0.5, 0.5], [0, 1]])
    found = model.predict_with_route(x, route)[:, 0, 0]
    np.testing.assert_allclose(found, [[5] * 3, [1] * 3, [3] * 3, [1] * 3], atol=1e-5)


def test_other_layers_are_refused_and_nothing_changes():
    target = network(normalization, known=False)
    for source in (network(divided), network(given), network(several)):
        with pytest.raises(ValueError, match=r"other layers|other settings"):
            copy_weights(source, target)
    wider = layers.Normalization(mean=[1.0] * 3, variance=[1.0] * 3)
    with pytest.raises(ValueError, match="other settings"):
        copy_weights(given(True), wider)
    np.testing.assert_allclose(outputs(target), [[52, 56]] * 2, atol=1e-3)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="the same process as from PyTorch")
def test_a_file_for_phones_has_it_and_a_wrong_copy_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow", reason="LiteRT files are converted by TensorFlow")
    model = upcycle(network(normalization), "tail", num_experts=2)
    if keras.backend.backend() == "tensorflow":  # the process of other backends reads safetensors, on TensorFlow
        report = litert(model, tmp_path / "x.tflite", images=images())
        assert report["parity"]["max_error"] < 1e-4
        (tmp_path / "x.tflite").unlink()
    for place in ("litert.forms.build", "tensorflow_process.save_weights"):  # on TensorFlow, and on other backends
        _corrupt(monkeypatch, f"keras_moe.export.{place}", model)
    with pytest.raises(ParityError, match="relative_error"):
        litert(model, tmp_path / "x.tflite", images=images())
    assert not (tmp_path / "x.tflite").exists()


def _corrupt(monkeypatch, place, model):
    """Has ``place`` see weights of which a tenth is missing: the same route, the same best class, other scores."""
    import importlib

    module, name = place.rsplit(".", 1)
    module = importlib.import_module(module)
    function = getattr(module, name)

    def on_wrong_weights(*args):
        kernel = model.get_layer("tail").get_layer("logits").kernel
        kernel.assign(0.9 * kernel)
        return function(*args)

    monkeypatch.setattr(module, name, on_wrong_weights)
