"""Training in stages, the any-time curve and the threshold, on handwritten digits."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import joblib
import keras
import numpy as np
import pytest
from descriptors import tiny_classifier

from keras_moe import zoo
from keras_moe.batches import DrawnBatches
from keras_moe.datasets import digits
from keras_moe.models import SingleGatedMoE
from keras_moe.training import (
    Recipe,
    anytime_curve,
    fit_balance,
    fit_threshold,
    partition_samples,
    train_experts,
    train_single_gated,
)

RECIPE = Recipe(1, batch_size=50, learning_rate=1e-3, augment=False)
TRAIN = tuple(part[:200] for part in digits()[0])
TEST = digits()[1]


def fresh(dropout=0.0, **kwargs):
    """Of two convolutions, since what is tested here is not the model."""
    keras.utils.set_random_seed(0)
    base = tiny_classifier((8, 8, 1), 10, dropout)
    return SingleGatedMoE.from_classifier(base, "relu0", **{"num_experts": 2, **kwargs})


def trained(folder, **kwargs):
    model = fresh(dropout=0.2)
    train_experts(model, TRAIN, folder, RECIPE, verbose=0, **kwargs)
    return model.get_weights()


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.once
def test_stages_freeze_what_is_not_theirs(tmp_path):
    model = fresh(learned=True)
    before = {part: [w for layer in layers for w in layer.get_weights()] for part, layers in model.parts.items()}
    history = train_single_gated(model, TRAIN, TEST, tmp_path, RECIPE)
    after = {part: [w for layer in layers for w in layer.get_weights()] for part, layers in model.parts.items()}
    assert list(history) == ["gate", "expert_0", "expert_1", "ensembler"]
    assert same(before["base"], after["base"])
    assert not any(same(before[part], after[part]) for part in ("gate", "experts", "ensembler"))
    again = fresh(learned=True)
    assert train_single_gated(again, TRAIN, TEST, tmp_path, RECIPE) == history
    assert same(again.get_weights(), model.get_weights())


@pytest.fixture(scope="module")
def optimized():
    """Graphs are optimized as in other processes, so that they round alike."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    yield
    tf.config.optimizer.set_experimental_options(before)


one_worker = pytest.mark.xdist_group("experts")


@pytest.fixture(scope="module")
def here(tmp_path_factory, optimized):
    """Experts trained one after another in this process."""
    return trained(tmp_path_factory.mktemp("here"))


@pytest.mark.once
@one_worker
def test_an_engine_that_hands_results_over_together(here, tmp_path):
    class Together(joblib.parallel.SequentialBackend):  # as Ray's
        supports_return_generator = False

    joblib.register_parallel_backend("together", Together)
    with joblib.parallel_config("together"):
        assert same(here, trained(tmp_path))


@pytest.mark.once
@one_worker
def test_processes_train_the_same_experts_though_one_is_killed(here, tmp_path):
    with killing_workers(most=1) as killer:
        assert same(here, trained(tmp_path, n_jobs=2))
    assert killer.most == 0


@pytest.mark.once
@one_worker
def test_what_a_dying_engine_leaves_is_reported_and_gone_on_with(here, tmp_path):
    (tmp_path / "all").mkdir()
    trained(tmp_path / "all")
    os.rename(tmp_path / "all" / "expert_1.safetensors", tmp_path / "expert_1.safetensors")
    before = (tmp_path / "expert_1.safetensors").stat().st_mtime_ns
    with killing_workers(most=99), pytest.raises(RuntimeError, match=r"Experts \[0\] were not trained .*died"):
        trained(tmp_path, n_jobs=2, retries=0)
    assert same(here, trained(tmp_path))
    assert (tmp_path / "expert_1.safetensors").stat().st_mtime_ns == before


class killing_workers:
    """Kills up to ``most`` worker processes of joblib, each as soon as it runs."""

    def __init__(self, most):
        self.most, self.stop = most, threading.Event()
        self.thread = threading.Thread(target=self.hunt)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.stop.set()
        self.thread.join()

    def hunt(self):
        killed = set()
        while self.most > 0 and not self.stop.is_set():
            for pid in set(workers()) - killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
                self.most -= 1
                break
            time.sleep(0.05)


def workers():
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == os.getpid() and b"popen_loky" in (process / "cmdline").read_bytes():
                yield int(process.name)
        except (OSError, IndexError):
            continue


@pytest.mark.once
def test_experts_of_another_run_are_refused(tmp_path):
    trained(tmp_path)
    with pytest.raises(ValueError, match="another run"):
        train_experts(fresh(dropout=0.2), TRAIN, tmp_path, dataclasses.replace(RECIPE, learning_rate=0.1))


@pytest.mark.once
def test_drawn_batches_follow_the_probabilities():
    images, labels = np.zeros((100, 4, 4, 1), "uint8"), np.arange(100)
    likely = np.where(labels < 10, 1.0, 0.0)
    data = DrawnBatches(images, labels, likely, 0.5, batch_size=5, augment=False)
    seen = np.concatenate([data[i][1] for i in range(len(data))])
    assert sorted(seen) == list(range(10))
    likely = np.where(labels < 10, 1.0, 0.1)
    data = DrawnBatches(images, labels, likely, 0.3, batch_size=10, augment=False)
    first = np.concatenate([data[i][1] for i in range(3)])
    assert len(set(first)) == 30
    assert sum(first < 10) >= 8
    data.epoch = 1
    assert set(np.concatenate([data[i][1] for i in range(3)])) != set(first)


@pytest.mark.once
def test_partition_of_samples_by_hand():
    points = np.array([[0, 0], [0, 1], [9, 9], [9, 8]], "float32")
    centroids, group = partition_samples(points, 2)
    assert group[0] == group[1] != group[2] == group[3]
    np.testing.assert_allclose(centroids[group[0]], [0, 0.5])
    np.testing.assert_allclose(centroids[group[2]], [9, 8.5])
    for groups, expected in ((0, "an int >= 1"), (5, "in 1…4")):
        with pytest.raises(ValueError, match=f"`groups` must be {expected}"):
            partition_samples(points, groups)
    with pytest.raises(ValueError, match="finite"):
        partition_samples(points * np.nan, 2)
    twice = np.concatenate([points[:2], points[:2] * (1 + 1e-7)])  # what rounding makes of equal images
    with pytest.raises(ValueError, match="1…2"):
        partition_samples(twice, 3)


def test_the_gate_points_at_the_nearest_centroid():
    model = fresh()
    embeddings = model.embed(TEST[0])
    centroids, group = partition_samples(embeddings, 2)
    model.point_gate_at(centroids)
    np.testing.assert_array_equal(model.route(TEST[0]).argmax(1), group)
    with pytest.raises(ValueError, match="centroids"):
        model.point_gate_at(centroids[:1])


@pytest.mark.once
@pytest.mark.parametrize(
    ("labels", "message"),
    [(TRAIN[1] + 1, "0…9"), (TRAIN[1].astype("float32"), "integer"), (TRAIN[1][:-1], "of shape")],
)
def test_bad_labels_are_refused_before_training(labels, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train_single_gated(fresh(), (TRAIN[0], labels), TEST, tmp_path, RECIPE)
    assert not any(tmp_path.iterdir())


@pytest.mark.once
def test_more_experts_than_clusters_is_refused_before_training(tmp_path):
    few = (np.repeat(TRAIN[0][:2], 100, 0), np.repeat(TRAIN[1][:2], 100))
    with pytest.raises(ValueError, match="1…2"):
        train_single_gated(fresh(num_experts=3), few, TEST, tmp_path, RECIPE)


@pytest.mark.parametrize("rule", ["confidence", pytest.param("product", marks=pytest.mark.once)])
def test_the_curve_is_what_the_model_does(rule):
    model = zoo.load("test_single_gated", rule=rule, classifier_activation=None, threshold=None)
    for point in anytime_curve(model, *TEST, values=[0.0, 0.05, 0.5, 1.0]):
        model.threshold = point.value
        predictions, route = model.predict_routed(TEST[0])
        assert point.quality == pytest.approx(np.mean(predictions.argmax(-1) == TEST[1]))
        assert point.macs == pytest.approx(model.mean_macs(route=route))
        assert point.exits == pytest.approx(np.mean(~route.any(-1)))


@pytest.mark.once
def test_a_budget_or_an_accuracy_sets_the_threshold():
    model = zoo.load("test_single_gated", classifier_activation=None)
    parts = model.macs_by_part()
    least, most = parts["base"] + parts["gate"], model.mean_macs(route=np.eye(3)[:1])
    chosen = fit_threshold(model, *TEST, budget=(least + most) / 2)
    assert model.threshold == pytest.approx(chosen.value)
    assert least <= chosen.macs <= (least + most) / 2
    assert chosen.quality == max(p.quality for p in anytime_curve(model, *TEST) if p.macs <= (least + most) / 2)
    cheap = fit_threshold(model, *TEST, quality=0.5)
    assert cheap.macs == pytest.approx(least)
    kept = model.threshold
    for wrong in ({"budget": least / 2}, {"quality": 1.1}, {}, {"budget": 1e9, "quality": 0.5}):
        with pytest.raises(ValueError, match="Received"):
            fit_threshold(model, *TEST, **wrong)
    assert model.threshold == kept


@pytest.mark.once
@pytest.mark.parametrize("groups", [[0] * 10, [0, 1], [2] * 10, [0.5] * 10])
def test_groups_that_leave_an_expert_without_images(tmp_path, groups):
    model = fresh()
    before = model.get_weights()
    with pytest.raises(ValueError, match="`groups` must be"):
        train_single_gated(model, TRAIN, TEST, tmp_path, RECIPE, groups=groups, verbose=0)
    assert same(before, model.get_weights())


@pytest.mark.once
def test_another_rule_comes_without_the_threshold_of_the_card():
    assert zoo.load("test_single_gated").threshold < 1
    images = TEST[0][:50]
    for options in ({}, {"threshold": None}):
        model = zoo.load("test_single_gated", rule="product", **options)
        assert np.count_nonzero(model.route(images)) == len(images), "no image exits early"
    assert zoo.load("test_single_gated", rule="product", threshold=0.4).threshold == pytest.approx(0.4)
    assert zoo.load("test_single_gated", rule="confidence").threshold == zoo.load("test_single_gated").threshold


@pytest.mark.once
def test_the_balance_is_the_likeliest():
    published = zoo.load("test_single_gated")
    model = type(published).from_config({**published.get_config(), "learned": True})
    for layer in published.layers:
        model.get_layer(layer.name).set_weights(layer.get_weights() or model.get_layer(layer.name).get_weights())
    for network, factor in ((model.get_layer("tail"), 5), *((expert, 0) for expert in model.bank.experts)):
        head = network.layers[-1]  # experts that only make a too sure base less sure
        head.set_weights([factor * values for values in head.get_weights()])
    balance = fit_balance(model, *TEST)
    assert model.threshold == published.threshold
    model.threshold = None

    def cross_entropy(factor):
        model.get_layer("ensembler").set_weights([np.log(balance * factor)])
        return -np.log(model.predict(TEST[0], verbose=0)[np.arange(len(TEST[1])), TEST[1]]).mean()

    assert cross_entropy(1) < min(cross_entropy(0.8), cross_entropy(1.25))
    with pytest.raises(ValueError, match="learned=True"):
        fit_balance(published, *TEST)


DISTRIBUTED = """
import contextlib, sys
import keras
from keras_moe.datasets import digits
from keras_moe.models import MoEModel
from keras_moe.training import Recipe, run_stages, classification_stage

scope = contextlib.nullcontext()
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    scope = strategy.scope()
else:
    assert len(keras.distribution.list_devices()) == 2
    keras.distribution.set_distribution(keras.distribution.DataParallel())
train, test = digits()
with scope:
    images = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(16, 3, activation="relu", name="conv")(keras.layers.Rescaling(1 / 127.5, -1)(images))
    x = keras.layers.Flatten()(keras.layers.BatchNormalization(momentum=0.9, name="bn")(x))
    parts = {"base": ["conv", "bn", "logits"]}
    base = MoEModel(images, keras.layers.Dense(10, name="logits")(x), parts=parts)
    recipe = Recipe(4, batch_size=100, learning_rate=0.02, augment=False)
    history = run_stages(base, [classification_stage(base, recipe, train, test)], sys.argv[1], verbose=0)
assert history["joint"][-1]["val_accuracy"] > 0.8, history
"""


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras has no data-parallel training on PyTorch's CPU")
def test_the_base_trains_on_two_devices(tmp_path):
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-c", DISTRIBUTED, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
