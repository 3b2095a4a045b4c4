"""Frozen means frozen; a killed run ends where an uninterrupted one does."""

import keras
import numpy as np
import pytest
from descriptors import HYDRA, tiny_classifier
from killed import run_until_saved

from keras_moe.batches import flip_and_crop
from keras_moe.models import Classifier, HydraNet
from keras_moe.training import (
    Checkpoint,
    ImageBatches,
    Recipe,
    Stage,
    classification_stage,
    distillation_targets,
    partition_classes,
    run_stages,
)
from keras_moe.weights import read_tensors

RNG = np.random.default_rng(0)
DATA = (RNG.integers(0, 256, (64, 8, 8, 3)).astype("uint8"), RNG.integers(0, 5, 64))
GROUPS = np.array([0, 1, 2, 0, 1])
DROPOUT = 0.0 if keras.backend.backend() == "torch" else 0.5  # PyTorch's draws from a generator that no model keeps


def hydra(branches=3, dropout=0.0):
    """Of two convolutions, since what is tested here is not the model."""
    return HydraNet.from_classifier(tiny_classifier(dropout=dropout), "relu0", branches, gate_filters=8)


def stage(model, parts=None, name="joint", epochs=1, **kwargs):
    recipe = Recipe(epochs, batch_size=32, warmup=0.5, **kwargs)
    return classification_stage(model, recipe, DATA, DATA, GROUPS if model.gate else None, name=name, parts=parts)


def content(layers):
    return {w.path: np.array(keras.ops.convert_to_numpy(w)).tobytes() for layer in layers for w in layer.weights}


@pytest.mark.parametrize(
    "trained", ["branches", *(pytest.param(part, marks=pytest.mark.once) for part in ("stem", "gate", "combiner"))]
)
def test_frozen_parts_keep_their_bytes(trained, tmp_path):
    """BatchNorm's moving statistics included, while the one part that learns does change."""
    # The combiner of the small one only adds.
    model = HydraNet(**HYDRA, classifier_activation=None) if trained == "combiner" else hydra()
    before = {part: content(layers) for part, layers in model.parts.items()}
    run_stages(model, [stage(model, (trained,), epochs=2)], tmp_path, verbose=0)
    after = {part: content(layers) for part, layers in model.parts.items()}
    assert {part for part in before if before[part] != after[part]} == {trained}
    statistics = [path for path in before[trained] if "moving" in path]
    # any, not all: a branch that nobody chose keeps its own
    assert not statistics or any(before[trained][path] != after[trained][path] for path in statistics)


@pytest.mark.once
def test_stages_follow_each_other_with_fresh_optimizers(tmp_path):
    model, made = hydra(), []

    def optimizer():
        made.append(keras.optimizers.SGD(0.01))
        return made[-1]

    stages = [stage(model, ("stem",), "one", 2), stage(model, ("gate", "combiner"), "two", 1)]
    stages = [Stage(**{**vars(s), "optimizer": optimizer}) for s in stages]
    history = run_stages(model, stages, tmp_path, verbose=0)
    assert {name: len(logs) for name, logs in history.items()} == {"one": 2, "two": 1}
    assert [int(o.iterations) for o in made] == [4, 2]
    assert not model.get_layer("stem").trainable
    assert model.get_layer("gate").trainable


@pytest.mark.once
def test_gate_usage_is_logged(tmp_path):
    model = hydra()
    (logs,) = run_stages(model, [stage(model)], tmp_path, verbose=0)["joint"]
    usage = [logs[f"usage_{k}"] for k in range(3)]
    assert sum(usage) == pytest.approx(2)
    assert logs["usage_min"] == min(usage)
    assert {"prediction_accuracy", "gate_logits_accuracy", "val_prediction_accuracy", "val_gate_logits_loss"} <= set(
        logs
    )


@pytest.mark.once
def test_a_finished_run_is_not_run_again(tmp_path):
    model = hydra()
    first = run_stages(model, [stage(model)], tmp_path, verbose=0)
    weights = content(model.layers)
    again = hydra()
    assert run_stages(again, [stage(again)], tmp_path, verbose=0) == first
    assert content(again.layers) == weights


@pytest.mark.once
def test_a_stage_ends_with_the_average_that_its_optimizer_took(tmp_path):
    """An average that never moves is that of the first step; who reads the checkpoint finds it, too."""
    images, labels = np.repeat(DATA[0][:1], 64, axis=0), np.zeros(64, "int64")

    def run(folder, steps, **average):
        keras.utils.set_random_seed(1)
        model, recipe = hydra(), Recipe(1, batch_size=64 // steps, augment=False)
        one = classification_stage(model, recipe, (images, labels), DATA, parts=("branches",))
        one = Stage(**{**vars(one), "optimizer": lambda: keras.optimizers.SGD(0.1, **average)})
        run_stages(model, [one], tmp_path / folder, verbose=0)
        return content(model.layers)

    averaged = run("average", 2, use_ema=True, ema_momentum=1.0)
    for path, value in run("one step", 1).items():
        if "moving" not in path:  # statistics are of batches
            np.testing.assert_allclose(
                np.frombuffer(averaged[path], "float32"), np.frombuffer(value, "float32"), 1e-4, 1e-6
            )
    assert run("average", 2, use_ema=True, ema_momentum=1.0) == averaged  # it is over
    assert run("no average", 2) != averaged


class Interruption(Exception):
    pass


class InterruptSecondEpoch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise Interruption


class InterruptAtTheEnd(keras.callbacks.Callback):
    """When the weights are the optimizer's average, which the last epoch's are not."""

    def on_train_end(self, logs=None):
        raise Interruption


@pytest.mark.parametrize("interrupt", [InterruptSecondEpoch, pytest.param(InterruptAtTheEnd, marks=pytest.mark.once)])
def test_interrupted_and_resumed_is_as_if_never_interrupted(interrupt, tmp_path):
    def run(folder, callbacks=()):
        keras.utils.set_random_seed(1)
        model = hydra(dropout=DROPOUT)
        one = vars(stage(model, epochs=2)) | {"optimizer": lambda: keras.optimizers.SGD(0.1, use_ema=True)}
        run_stages(model, [Stage(**one)], folder, callbacks, verbose=0)
        return content(model.layers)

    expected = run(tmp_path / "whole")
    with pytest.raises(Interruption):
        run(tmp_path / "cut", [interrupt()])
    assert run(tmp_path / "cut") == expected


def run_two_stages(folder):
    keras.utils.set_random_seed(1)
    model = hydra()
    stages = [stage(model, ("stem", "combiner"), "one", 2), stage(model, None, "two", 3, seed=5)]
    run_stages(model, stages, folder, verbose=0)


def _kill(folder, stage, epoch):
    """Runs until an epoch of a stage is saved; tells what was saved last."""
    run = "from test_training import run_two_stages; run_two_stages(sys.argv[1])"
    run_until_saved(run, f"(progress['stage'], progress['epoch']) == {(stage, epoch)}", folder)
    progress = Checkpoint(folder).progress()
    return progress["stage"], progress["epoch"]


@pytest.mark.once
def test_killed_and_resumed_is_as_if_never_killed(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert _kill(cut, "one", 1) == ("one", 1)
    assert _kill(cut, "two", 1) == ("two", 1)
    run_two_stages(cut)
    run_two_stages(whole)
    expected, resumed = read_tensors(Checkpoint(whole).path), read_tensors(Checkpoint(cut).path)
    assert expected.keys() == resumed.keys()
    for name in expected:
        np.testing.assert_array_equal(resumed[name], expected[name], err_msg=name)
    assert Checkpoint(whole).progress()["history"].keys() == Checkpoint(cut).progress()["history"].keys()


@pytest.mark.once
def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    model = hydra()
    run_stages(model, [stage(model, name="one")], tmp_path, verbose=0)
    with pytest.raises(ValueError, match="stage 'one', not one of"):
        run_stages(model, [stage(model, name="other")], tmp_path, verbose=0)
    other = hydra(branches=4)
    with pytest.raises(ValueError, match="do not fit the model; nothing was loaded"):
        run_stages(other, [stage(other, name="one", epochs=2)], tmp_path, verbose=0)


@pytest.mark.once
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": ("trunk",)}, "must name parts of"),
        ({"train": ()}, "must name parts of"),
        ({"losses": {"depth": "mse"}}, "are for 'prediction' and 'gate_logits'"),
        ({"losses": {}}, "are for 'prediction' and 'gate_logits'"),
    ],
)
def test_wrong_stages(change, message, tmp_path):
    model = hydra()
    with pytest.raises(ValueError, match=message):
        run_stages(model, [Stage(**{**vars(stage(model)), **change})], tmp_path)
    with pytest.raises(ValueError, match="distinct names"):
        run_stages(model, [stage(model), stage(model)], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.once
def test_a_dense_network_trains_by_the_same_recipe(tmp_path):
    model = Classifier(input_shape=(8, 8, 3), alpha=0.5, backbone="resnet8", classes=5, classifier_activation=None)
    (logs,) = run_stages(model, [stage(model)], tmp_path, verbose=0)["joint"]
    assert "usage_min" not in logs


def teacher(activation="softmax"):
    """Says class 0 of dark images and class 1 of bright ones, with 0.75."""
    images = keras.Input((8, 8, 3))
    bright = keras.layers.Lambda(lambda x: keras.ops.cast(keras.ops.mean(x, (1, 2, 3)) > 127, "float32"))(images)
    logits = keras.layers.Lambda(lambda b: keras.ops.log(keras.ops.stack([0.75 - b / 2, 0.25 + b / 2], -1)))(bright)
    return keras.Model(images, keras.layers.Activation(activation)(logits))


def test_soft_labels_by_hand():
    images = np.stack([np.zeros((8, 8, 3)), np.full((8, 8, 3), 255)]).astype("uint8")
    found = distillation_targets([teacher(), teacher()], images, np.array([1, 1]), share=0.8)
    np.testing.assert_allclose(found, [[0.6, 0.4], [0.2, 0.8]], atol=1e-6)
    np.testing.assert_allclose(distillation_targets([teacher()], images, np.array([1, 1]), share=0.0), [[0, 1], [0, 1]])


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "`teachers` must be at least one model"),
        (([None], 1.5), r"`share` must be a float in \[0, 1\]"),
        ((["logits"],), "expected teachers that end in probabilities"),
    ],
)
def test_soft_labels_refuse(arguments, message):
    with pytest.raises(ValueError, match=r"`labels` must be in 0…1 .*Received: labels='-1…1'"):
        distillation_targets([teacher()], DATA[0][:2], np.array([-1, 1]))
    teachers, *rest = arguments
    teachers = [teacher("linear") if t == "logits" else t for t in teachers]
    with pytest.raises(ValueError, match=message):
        distillation_targets(teachers, DATA[0][:2], np.array([0, 1]), *rest)


@pytest.mark.once
def test_soft_labels_teach(tmp_path):
    """Labels that all say class 3 teach class 3, whatever the labels of the data are; the gate keeps to those."""
    model, soft_targets = hydra(), np.eye(5, dtype="float32")[np.full(64, 3)]
    recipe = Recipe(10, batch_size=32, learning_rate=0.02)
    history = run_stages(
        model, [classification_stage(model, recipe, DATA, DATA, GROUPS, soft_targets=soft_targets)], tmp_path, verbose=0
    )
    assert history["joint"][-1]["gate_logits_loss"] < history["joint"][0]["gate_logits_loss"]
    assert (model.predict(DATA[0], verbose=0).argmax(-1) == 3).all()


def test_soft_labels_of_other_images_are_refused():
    with pytest.raises(
        ValueError, match=r"`soft_targets` must be of shape \(64, 5\), a row per image. Received: .*\(63, 5\)"
    ):
        classification_stage(hydra(), Recipe(1, batch_size=32), DATA, DATA, GROUPS, soft_targets=np.ones((63, 5)) / 5)


@pytest.mark.once
def test_partition_is_balanced_and_finds_clusters():
    centres = np.array([[0, 0], [10, 0], [0, 10]])
    wanted = np.array([0, 1, 2, 1, 0, 2, 2, 1, 0])
    labels = np.repeat(np.arange(9), 20)
    features = centres[wanted[labels]] + np.random.default_rng(0).normal(size=(180, 2))
    groups = partition_classes(features, labels, 3)
    np.testing.assert_array_equal(groups, wanted)


@pytest.mark.once
def test_partition_never_overfills_a_group():
    features, labels = np.random.default_rng(0).normal(size=(100, 3)), np.arange(100) % 10
    for groups in (1, 3, 4, 10):
        counts = np.bincount(partition_classes(features, labels, groups), minlength=groups)
        assert counts.max() <= -(-10 // groups)


@pytest.mark.once
@pytest.mark.parametrize(
    ("features", "labels", "groups", "message"),
    [
        (np.zeros((4, 2)), [0, 1, 2], 2, r"features \(n, d\) and labels \(n,\)"),
        (np.zeros((3, 2)), [0, 1, 3], 2, r"none of classes \[2\]"),
        (np.full((3, 2), np.nan), [0, 1, 2], 2, "must be finite"),
        (np.zeros((3, 2)), [0, 1, 2], 4, "1…3, the number of classes. Received: groups=4"),
    ],
)
def test_partition_refuses(features, labels, groups, message):
    with pytest.raises(ValueError, match=message):
        partition_classes(features, np.array(labels), groups)


@pytest.mark.once
def test_batches_depend_on_seed_and_epoch_alone():
    images = np.arange(40 * 4 * 4 * 3, dtype="uint8").reshape(40, 4, 4, 3)
    one, two = (ImageBatches(images, np.arange(40), 16, pad=1, seed=3) for _ in range(2))
    for _ in range(3):
        one.on_epoch_end()
    two.epoch = 3
    for (a, b), (c, d) in zip((one[i] for i in range(2)), (two[i] for i in range(2)), strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)
    two.epoch = 4
    assert not np.array_equal(one[0][1], two[0][1])
    assert len(one) == 2


@pytest.mark.once
def test_augmentation_by_hand():
    image = np.arange(9).reshape(1, 3, 3, 1)

    class Fixed:
        def integers(self, low, high, size):
            return np.full(size, 1)  # no shift: the pad is 1

        def random(self, size):
            return np.full(size, 0.9)  # flip

    np.testing.assert_array_equal(flip_and_crop(image, 1, Fixed())[0, :, :, 0], [[2, 1, 0], [5, 4, 3], [8, 7, 6]])


@pytest.mark.once
def test_too_few_images():
    with pytest.raises(ValueError, match="at least one batch of 128"):
        ImageBatches(DATA[0], DATA[1])


@pytest.mark.once
def test_targets_that_do_not_fit():
    for targets in (DATA[1][1:], {"prediction": DATA[1], "gate_logits": DATA[1][:-1]}, DATA[1].tolist()):
        with pytest.raises(ValueError, match="an array with a row for each of 64 images"):
            ImageBatches(DATA[0], targets, 32)
    for labels in (DATA[1] - 1, DATA[1] + 1, DATA[1][:63], DATA[1] / 1):
        with pytest.raises(ValueError, match=r"`train` must be (in 0…4|integers|of shape \(64,\))"):
            classification_stage(hydra(), Recipe(1, batch_size=32), (DATA[0], labels), DATA, GROUPS)
