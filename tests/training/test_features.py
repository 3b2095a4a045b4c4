"""Training behind a frozen stem: the cut, cached views, batches of them."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from descriptors import HYDRA
from PIL import Image

from keras_moe import models
from keras_moe.images import resized
from keras_moe.training import features
from keras_moe.training.augmentation import random_views

once = pytest.mark.once


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3), dtype="uint8")


@once
def test_trunk_and_rest_are_the_model(images):
    model = models.HydraNet(**HYDRA, classifier_activation=None)
    trunk, rest = features.behind(model, "stem")
    x = resized(images, 8).astype("float32")
    np.testing.assert_allclose(
        rest.predict(trunk.predict(x, verbose=0), verbose=0), model.predict(x, verbose=0), atol=1e-5
    )
    assert list(rest.parts) == ["gate", "branches", "combiner"]
    assert tuple(rest.gate["gate_logits"].shape) == (None, 3)
    shared = {id(w) for w in model.weights}
    assert all(id(w) in shared for w in [*trunk.weights, *rest.weights])


def test_views_are_cached_once(images, tmp_path):
    trunk, _ = features.behind(models.HydraNet(**HYDRA), "stem")
    whole, *views = features.cache_views(trunk, images, tmp_path, 2, batch_size=2)
    assert [v.shape for v in views] == [(5, *trunk.output_shape[1:])] * 2
    assert not np.array_equal(views[0], views[1])
    seen = random_views(images, 8, 1)  # view 1 of seed 0
    np.testing.assert_allclose(views[1], trunk.predict(seen, verbose=0), atol=2e-3)
    np.testing.assert_allclose(whole, trunk.predict(resized(images, 8), verbose=0), atol=2e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["view_0.npy", "view_1.npy", "whole.npy"]
    np.save(tmp_path / "view_0.npy", np.zeros_like(views[0]))
    assert features.cache_views(trunk, images, tmp_path, 2)[1].max() == 0  # not computed anew


@once
def test_an_interrupted_cache_goes_on_where_it_was(images, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "_CHUNK", 2)
    trunk, _ = features.behind(models.HydraNet(**HYDRA), "stem")
    expected = [np.array(v) for v in features.cache_views(trunk, images, tmp_path / "whole", 1)]
    steps = []

    def interrupted(chunks, total):
        for step, chunk in enumerate(chunks):
            if total == 3 and step == 2:
                raise KeyboardInterrupt
            steps.append(chunk[0])
            yield chunk

    with pytest.raises(KeyboardInterrupt):
        features.cache_views(trunk, images, tmp_path / "cut", 1, track=interrupted)
    again = features.cache_views(trunk, images, tmp_path / "cut", 1, track=interrupted)
    assert steps == [0, 2, 4]
    for one, other in zip(expected, again, strict=True):
        np.testing.assert_array_equal(one, other)


@once
def test_a_full_disk_is_said_before_anything_is_computed(images, tmp_path, monkeypatch):
    monkeypatch.setattr(features.shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    trunk, _ = features.behind(models.HydraNet(**HYDRA), "stem")
    with pytest.raises(OSError, match=r"the features take 0\.0 GB"):
        features.cache_views(trunk, images, tmp_path, 1)


@once
def test_images_of_a_grey_model_are_as_pillow_makes_them(images, tmp_path):
    inputs = keras.Input((8, 8, 1))
    (whole,) = features.cache_views(keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs)), images, tmp_path, 0)
    expected = [np.asarray(Image.fromarray(image).resize((8, 8)).convert("L")) for image in images]
    np.testing.assert_array_equal(whole[..., 0], np.stack(expected))


@once
def test_batches_take_one_view_of_each_image_and_another_in_the_next_epoch():
    views = [np.full((6, 1), v) + 10 * np.arange(6)[:, None] for v in range(3)]
    targets = {"prediction": [np.full((6, 1), v) for v in range(3)], "gate_logits": np.arange(6)}
    batches = features.FeatureBatches(views, targets, batch_size=3, seed=1)
    assert len(batches) == 2
    epochs = []
    for _ in range(3):
        rows = [batches[i] for i in range(2)]
        x = np.concatenate([x for x, _ in rows])[:, 0]
        view = np.concatenate([y["prediction"] for _, y in rows])[:, 0]
        image = np.concatenate([y["gate_logits"] for _, y in rows])
        np.testing.assert_array_equal(x, 10 * image + view)
        assert sorted(image) == list(range(6))
        epochs.append(dict(zip(image.tolist(), view.tolist(), strict=True)))
        batches.on_epoch_end()
    for image in range(6):
        assert {epoch[image] for epoch in epochs} == {0, 1, 2}


@once
def test_a_view_depends_on_its_seed_alone(images):
    np.testing.assert_array_equal(random_views(images, 8, 3), random_views(images, 8, 3))
    assert not np.array_equal(random_views(images, 8, 3), random_views(images, 8, 4))
    np.testing.assert_array_equal(random_views(images, 8, 3)[:2], random_views(images[:2], 8, 3))
    np.testing.assert_array_equal(random_views(images, 8, 3)[2:], random_views(list(images[2:]), 8, 3, first=2))


@once
def test_a_view_shows_the_same_part_at_every_size():
    ramp = np.broadcast_to(np.arange(0, 240, 5, dtype="uint8")[None, :, None], (48, 48, 3))
    images = np.stack([ramp] * 8)
    small, large = (random_views(images, size, 0).astype("float32") for size in (16, 32))
    averaged = large.reshape(8, 16, 2, 16, 2, 3).mean((2, 4))
    assert np.abs(averaged - small).max() < 12
    assert small[..., 0].std(axis=(1, 2)).min() > 5  # a part of the ramp, not one colour


@once
def test_training_the_rest_trains_the_model(images):
    model = models.HydraNet(**HYDRA, classifier_activation=None)
    trunk, rest = features.behind(model, "stem")
    x, y = trunk.predict(resized(images, 8), verbose=0), np.arange(5)
    before = model.predict(resized(images, 8), verbose=0)
    stem = [w.copy() for w in model.get_layer("stem").get_weights()]
    rest.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rest.fit(x, y, verbose=0)
    assert not np.allclose(model.predict(resized(images, 8), verbose=0), before)
    for a, b in zip(stem, model.get_layer("stem").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@once
def test_batches_of_some_images_alone():
    views = [np.arange(6)[:, None]]
    batches = features.FeatureBatches(views, {"prediction": np.arange(6)}, batch_size=2, rows=np.array([1, 4, 5]))
    assert len(batches) == 1
    seen = set()
    for _ in range(8):
        x, y = batches[0]
        np.testing.assert_array_equal(x[:, 0], y["prediction"])
        seen |= set(y["prediction"].tolist())
        batches.on_epoch_end()
    assert seen == {1, 4, 5}


@once
def test_batches_draw_images_by_their_weights():
    views = [10 * np.arange(4)[:, None] + v for v in range(2)]
    options = {"batch_size": 2, "rows": np.array([0, 2, 3, 1]), "weights": np.array([0.0, 0, 3, 3])}
    batches = features.FeatureBatches(views, {"prediction": np.arange(4)}, **options)
    assert len(batches) == 2
    x = batches[0][0]
    again = features.FeatureBatches(views, {"prediction": np.arange(4)}, **options)[0]
    np.testing.assert_array_equal(x, again[0])
    drawn = []
    for _ in range(50):
        drawn += [batches[i] for i in range(2)]
        batches.on_epoch_end()
    image, seen = np.concatenate([y["prediction"] for _, y in drawn]), np.concatenate([x[:, 0] for x, _ in drawn])
    np.testing.assert_array_equal(seen // 10, image)
    assert set(image.tolist()) == {2, 3}
    assert 60 < (image == 2).sum() < 140  # of 200
    assert 60 < (seen % 10 == 1).sum() < 140


@once
def test_mixup_mixes_features_and_targets_alike():
    views = [np.arange(8, dtype="float32")[:, None]]
    targets = {"prediction": np.eye(8, dtype="float32"), "gate_logits": np.arange(8)}
    x, y = features.FeatureBatches(views, targets, batch_size=8, mixup=1.0)[0]
    np.testing.assert_allclose(y["prediction"].sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(y["prediction"] @ np.arange(8), x[:, 0], rtol=1e-5)  # the same shares of the same rows
    np.testing.assert_array_equal(y["prediction"].argmax(1), y["gate_logits"])
    assert (y["prediction"].max(1) < 0.999).sum() >= 4
    assert y["prediction"].max(1).min() >= 0.5
    again = features.FeatureBatches(views, targets, batch_size=8, mixup=1.0)[0]
    np.testing.assert_array_equal(again[0], x)
