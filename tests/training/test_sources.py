"""Stages learn from every kind of data, on every backend; what cannot resume exactly says so; the best weights stay."""

import os
import re
import threading
import time
import types

import keras
import numpy as np
import pytest
from descriptors import tiny_classifier
from PIL import Image

from keras_moe.batches import balancing_weights, epoch_rows
from keras_moe.datasets import ImageFiles
from keras_moe.models import HydraNet
from keras_moe.training import FileBatches, ImageBatches, Stage, run_stages
from keras_moe.training.augmentation import random_view
from keras_moe.training.sources import SourceBatches, Throughput

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (16, 8, 8, 3)).astype("float32"), np.arange(16) % 5


class Plain(keras.utils.PyDataset):
    """Without an ``epoch``."""

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return IMAGES[8 * i : 8 * i + 8], LABELS[8 * i : 8 * i + 8]


class ByWorkers(keras.utils.PyDataset):
    """Batches whose images tell the thread or process that made them, and whose targets the epoch and their order."""

    epoch = 0

    def __len__(self):
        return 4

    def __getitem__(self, i):
        time.sleep(0.2 if i == 0 else 0.01)
        images = np.full((2, 8, 8, 3), os.getpid() if self.use_multiprocessing else threading.get_ident(), "float64")
        return images, np.full(2, 10 * self.epoch + i)

    def on_epoch_end(self):
        self.epoch += 1


def tf_data():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(8)


def loader(**options):
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS))
    return torch.utils.data.DataLoader(data, batch_size=8, **options)


def shuffled_loader():
    return loader(shuffle=True, generator=pytest.importorskip("torch").Generator().manual_seed(3))


def folder(tmp_path):
    for image, label in zip(IMAGES, LABELS, strict=True):
        path = tmp_path / "images" / str(label)
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype("uint8")).save(path / f"{len(list(path.iterdir()))}.png")
    pytest.importorskip("tensorflow")
    return keras.utils.image_dataset_from_directory(tmp_path / "images", image_size=(8, 8), batch_size=8, verbose=False)


SOURCES = {
    "arrays": lambda tmp_path: (IMAGES, LABELS),
    "PyDataset": lambda tmp_path: Plain(),
    "tf.data": lambda tmp_path: tf_data(),
    "image_dataset_from_directory": folder,
    "DataLoader": lambda tmp_path: loader(),
}


def stage(data, epochs=1, **options):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return Stage(
        "one", ("branches",), epochs, lambda: keras.optimizers.SGD(0.01), data, {"prediction": loss}, **options
    )


@pytest.mark.parametrize("kind", SOURCES)
def test_a_stage_learns_from_it(kind, tmp_path):
    model = HydraNet.from_classifier(tiny_classifier(), "relu0", 2, gate_filters=0)
    before = [np.array(w) for w in model.get_weights()]
    (logs,) = run_stages(model, [stage(SOURCES[kind](tmp_path))], tmp_path / "run", verbose=0)["one"]
    assert np.isfinite(logs["loss"])
    assert logs["images_per_second"] > 0
    assert 0 < logs["data_share"] <= 1
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def batches(source, epoch=0):
    made = SourceBatches(source, lambda y: {"prediction": y}, (8, 8, 3), lambda images, targets: None)
    made.epoch = epoch
    return made


def labels_of(made):
    return np.concatenate([made[i][1]["prediction"] for i in range(len(made))]).tolist()


@pytest.mark.once
def test_a_loader_with_a_generator_of_its_own_resumes_exactly():
    whole = batches(shuffled_loader())
    first = labels_of(whole)
    whole.on_epoch_end()
    second = labels_of(whole)
    assert first != second
    assert sorted(first) == sorted(second) == sorted(LABELS.tolist())
    assert labels_of(batches(shuffled_loader(), epoch=1)) == second


@pytest.mark.once
@pytest.mark.parametrize("use_multiprocessing", [False, True])
def test_the_workers_of_a_dataset_make_its_batches_in_order(use_multiprocessing):
    made = batches(ByWorkers(workers=3, use_multiprocessing=use_multiprocessing, max_queue_size=2))
    own = os.getpid() if use_multiprocessing else threading.get_ident()
    for epoch in range(2):
        images, targets = zip(*(made[i] for i in range(4)), strict=True)
        workers = {float(image.ravel()[0]) for image in images}
        assert float(own) not in workers
        assert len(workers) > 1
        assert np.concatenate([t["prediction"] for t in targets]).tolist() == [
            10 * epoch + i for i in range(4) for _ in range(2)
        ]
        made.on_epoch_end()
    resumed = batches(ByWorkers(workers=3, use_multiprocessing=use_multiprocessing), epoch=1)
    assert labels_of(resumed) == [10, 10, 11, 11, 12, 12, 13, 13]
    resumed.on_epoch_end()


class Clocked(Plain):
    """Batches that take seconds each by the clock of a test."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def __getitem__(self, i):
        self.clock.now += self.seconds
        return super().__getitem__(i)


@pytest.mark.parametrize(
    ("data", "compute", "limit"),
    [(19, 1, "the data is the limit, the data took 95%"), (1, 3, "compute is the limit, the data took 25%")],
)
def test_a_stage_says_what_its_limit_is(data, compute, limit, monkeypatch, capsys):
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    made = batches(Clocked(clock, data))
    throughput = Throughput(made, "one", verbose=True)
    for epoch in range(3):
        throughput.on_epoch_begin(epoch)
        for i in range(len(made)):
            made[i]
            clock.now += compute
        throughput.on_epoch_end(epoch, {})
    throughput.on_train_end()
    assert capsys.readouterr().out == f"one: {8 / (data + compute):,.0f} images/s; {limit} of the time\n"


def test_a_stage_says_once_what_its_limit_is(tmp_path, capsys):
    model = HydraNet.from_classifier(tiny_classifier(), "relu0", 2, gate_filters=0)
    run_stages(model, [stage(Plain(), epochs=3)], tmp_path / "run", verbose=2)
    told = [line for line in capsys.readouterr().out.splitlines() if "images/s" in line]
    assert len(told) == 1
    assert re.fullmatch(r"one: [\d,]+ images/s; (the data|compute) is the limit, the data took \d+% of .+", told[0])


@pytest.mark.once
def test_what_cannot_resume_exactly_says_so():
    for source in (Plain(), tf_data(), loader(shuffle=True)):
        with pytest.warns(UserWarning, match=r"goes on at epoch 3\. The order of a \w+ cannot be set"):
            batches(source, epoch=2)
    for source in (ImageBatches(IMAGES, LABELS, 8), loader(), (IMAGES, LABELS)):
        assert batches(source, epoch=2).is_exact


@pytest.mark.once
def test_wrong_data_is_said(tmp_path):
    torch, tf = pytest.importorskip("torch"), pytest.importorskip("tensorflow")
    first = torch.utils.data.TensorDataset(
        torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()), torch.from_numpy(LABELS)
    )
    with pytest.raises(ValueError, match=r"\('n', 8, 8, 3\), channels last\. Received: \(16, 3, 8, 8\)"):
        batches(torch.utils.data.DataLoader(first, batch_size=16))[0]
    with pytest.raises(ValueError, match="without a length"):
        batches(tf.data.Dataset.from_tensors((IMAGES, LABELS)).repeat())
    model = HydraNet.from_classifier(tiny_classifier(), "relu0", 2, gate_filters=0)
    two = stage((IMAGES, LABELS))
    losses = {**two.losses, "gate_logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    with pytest.raises(ValueError, match=r"expected targets for .* Received: one array"):
        run_stages(model, [Stage(**{**vars(two), "losses": losses})], tmp_path, verbose=0)
    with pytest.raises(ValueError, match="`patience` needs `validation_data`"):
        stage((IMAGES, LABELS), patience=2)
    with pytest.raises(ValueError, match=r"a pair of arrays .* Received: _TensorSliceDataset"):
        stage((IMAGES, LABELS), validation_data=tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)))


@pytest.mark.parametrize("kind", ["arrays", "PyDataset", "DataLoader"])
def test_labels_beyond_the_classes_are_refused(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("test_sources.LABELS", LABELS + 1)
    model = HydraNet.from_classifier(tiny_classifier(), "relu0", 2, gate_filters=0, classifier_activation=None)
    with pytest.raises(ValueError, match=rf"Stage 'one': `prediction` must be in 0…{LABELS.max() - 1}"):
        run_stages(model, [stage(SOURCES[kind](tmp_path))], tmp_path / "run", verbose=0)


@pytest.mark.once
def test_a_loss_of_logits_needs_logits(tmp_path):
    model = HydraNet((8, 8, 3), 0.25, "resnet8", 2, classes=5)  # ends in a softmax
    with pytest.raises(ValueError, match=r"must be a loss of probabilities, .* Received: .*from_logits=True"):
        run_stages(model, [stage((IMAGES, LABELS))], tmp_path, verbose=0)


@pytest.mark.once
def test_fractions_are_said_and_lists_are_taken(tmp_path):
    model = HydraNet((8, 8, 3), 0.25, "resnet8", 2, classes=5, classifier_activation=None)
    with pytest.warns(UserWarning, match=r"Stage 'one': expected pixels in \[0, 255\]"):
        run_stages(model, [stage([IMAGES / 255, LABELS])], tmp_path / "one", verbose=0)
    run_stages(model, [stage((IMAGES, LABELS.tolist()))], tmp_path / "two", verbose=0)


@pytest.mark.once
def test_the_best_weights_stay_and_a_stage_that_gets_worse_ends(tmp_path):
    """A rate at which every epoch makes it worse: the weights before the first one are the best."""
    model = HydraNet.from_classifier(tiny_classifier(), "relu0", 2, gate_filters=0)
    before = [np.array(w) for w in model.get_weights()]
    validation = (IMAGES, {"prediction": (model.predict(IMAGES, verbose=0)).argmax(-1)})
    wrong = stage((IMAGES, (validation[1]["prediction"] + 1) % 5), 9, validation_data=validation, patience=2)
    wrong = Stage(**{**vars(wrong), "optimizer": lambda: keras.optimizers.SGD(0.5)})
    logs = run_stages(model, [wrong], tmp_path, verbose=0)["one"]
    assert len(logs) == 2
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert run_stages(model, [wrong], tmp_path, verbose=0)["one"] == logs  # is not run again


@pytest.mark.once
def test_files_come_in_an_order_and_views_of_seed_and_epoch(tmp_path):
    for i in range(6):
        Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype="uint8")).save(tmp_path / f"{i}.png")
    files = ImageFiles([str(tmp_path / f"{i}.png") for i in range(6)], least=16)
    made = FileBatches(files, {"prediction": np.arange(6)}, (8, 8, 3), batch_size=2, seed=4)
    assert len(made) == 3
    made.epoch = 1
    order = np.random.default_rng((4, 1)).permutation(6)
    for i in range(3):
        x, y = made[i]
        np.testing.assert_array_equal(y["prediction"], order[2 * i : 2 * i + 2])
        expected = random_view(files[int(order[2 * i + 1])], 8, np.random.default_rng((4, 1, 2 * i + 1)))
        np.testing.assert_array_equal(x[1], expected)
    again = FileBatches(files, {"prediction": np.arange(6)}, (8, 8, 3), batch_size=2, seed=4)
    again.epoch = 1
    np.testing.assert_array_equal(again[2][0], made[2][0])
    with pytest.raises(ValueError, match="one batch of 7 images or more"):
        FileBatches(files, {}, (8, 8, 3), batch_size=7)
    with pytest.raises(ValueError, match="`prediction` must be an array with a row for each of 6 images"):
        FileBatches(files, {"prediction": np.arange(7)}, (8, 8, 3), batch_size=2)


@pytest.mark.once
def test_large_pictures_are_reduced_while_they_are_read(tmp_path):
    Image.new("RGB", (1200, 800), (9, 9, 9)).save(tmp_path / "large.png")
    Image.new("L", (30, 20), 7).save(tmp_path / "small.png")
    files = ImageFiles([str(tmp_path / name) for name in ("large.png", "small.png")], least=40)
    assert [image.shape for image in files[:]] == [(40, 60, 3), (20, 30, 3)]


@pytest.mark.once
def test_rare_classes_are_drawn_more_often_by_hand():
    labels = np.array([0] * 16 + [1] * 4)
    weights = balancing_weights(labels)
    np.testing.assert_allclose(weights, [0.25] * 16 + [0.5] * 4)
    drawn = np.concatenate([epoch_rows(np.arange(20), 0, epoch, weights) for epoch in range(30)])
    share = np.mean(labels[drawn] == 1)  # 2 of 6
    assert len(drawn) == 600
    assert abs(share - 1 / 3) < 0.01
    counts = np.bincount(epoch_rows(np.arange(20), 0, 0, weights), minlength=20)
    assert set(counts[:16]) <= {0, 1}  # 20 * 0.25 / 6 = 0.83
    assert set(counts[16:]) <= {1, 2}  # 1.67
    assert sorted(epoch_rows(np.arange(4, 8), 0, 3).tolist()) == [4, 5, 6, 7]
