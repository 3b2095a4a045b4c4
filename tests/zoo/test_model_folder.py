"""``zoo.save`` writes a folder that ``zoo.load`` makes the same model of, whole or not at all."""

import errno
import os
import re

import keras
import numpy as np
import pytest

from keras_moe import models, zoo
from keras_moe.weights import read_tensors
from keras_moe.zoo import writing

TINY = {"input_shape": (8, 8, 3), "backbone": "resnet8", "alpha": 0.5, "num_experts": 3, "classes": 3}
LABELS = ("été", "two words", "猫")
# Models by name, and a change after training.
MODELS = {
    "hydranet": lambda: models.HydraNet(**TINY, top_k=2, gate_filters=0, combine="logits"),
    "lite0": lambda: models.HydraNet(
        (32, 32, 3), backbone="efficientnet_lite0", split_at=6, num_experts=2, branch_blocks=1, classes=3
    ),
    "upcycled": lambda: models.upcycle(models.Classifier((8, 8, 3), 0.5, "resnet8", classes=3), num_experts=2, top_k=2),
    "upcycled by branches": lambda: models.upcycle(
        models.Classifier((8, 8, 1), 0.5, "resnet8", classes=3, classifier_activation=None), None, 2, "hydranet"
    ),
    "single_gated": lambda: models.SingleGatedMoE((8, 8, 3), 0.5, "resnet8", 2, rule="product", classes=3),
    "classifier of logits": lambda: models.Classifier((8, 8, 1), 0.5, "resnet8", classes=3, classifier_activation=None),
    "segmentation": lambda: models.SegmentationMoE((16, 16, 3), 0.5, "resnet8", sparse=True, classes=3),
    "segmenter": lambda: models.Segmenter((16, 16, 3), 0.5, "resnet8", classes=3),
    "unet": lambda: models.UNet((16, 16, 3), filters=(2, 4), classes=3),
    "patcher": lambda: models.Patcher((256, 256, 3), classes=3),
    "classsr": lambda: models.ClassSR((16, 16, 3), filters=(4, 8), scale=2),
    "super-resolution network": lambda: models.SuperResolutionNetwork((16, 16, 3), filters=4, scale=2),
}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "My Flowers"


@pytest.fixture(scope="module")
def tiny():
    return models.HydraNet(**TINY)


def arrays(model):
    return {v.path: keras.ops.convert_to_numpy(v) for v in model.weights}


def images_for(model, n=4):
    return np.random.default_rng(0).uniform(0, 255, (n, *model.input_shape[1:])).astype("float32")


@pytest.mark.once
@pytest.mark.parametrize("name", MODELS)
def test_what_is_loaded_is_what_was_saved(name, folder):
    model = MODELS[name]()
    for weight in model.weights:
        if weight.path.endswith("moving_mean"):  # as after training
            weight.assign(np.linspace(-0.1, 0.1, weight.shape[0]))
    if hasattr(model, "drop_below"):
        model.drop_below = 0.3
    if hasattr(model, "threshold"):
        model.threshold = 0.2
    if hasattr(model, "cost_weight"):
        model.cost_weight = 0.4
    labels = LABELS if model.output_kind == "classes" else None
    card = zoo.save(model, folder, labels=labels)
    loaded = zoo.load(folder)
    assert arrays(loaded).keys() == arrays(model).keys()
    x = images_for(model, 1)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert (card, card.classes) == (zoo.card(folder), labels or ())
    assert (card.name, card.params, card.macs_total) == ("my_flowers", model.count_params(), model.macs_total)
    config, kept = model.get_config(), loaded.get_config()
    for told_otherwise in ("name", "classifier", "classifier_activation"):  # None is "linear"
        config.pop(told_otherwise, None), kept.pop(told_otherwise, None)
    assert kept == config


def test_predictions_and_settings_on_every_backend(folder):
    model = models.HydraNet(**TINY, top_k=3)
    model.get_layer("top_k").top_k = 1
    model.get_layer("top_k").temperature = 2.0
    model.drop_below = 0.25
    model.parts["stem"][1].trainable = False  # of a training, not of the model
    card = zoo.save(model, folder, labels=LABELS)
    assert card.config == {
        "input_shape": (8, 8, 3), "backbone": "resnet8", "alpha": 0.5, "num_experts": 3, "classes": 3, "top_k": 1,
        "drop_below": 0.25,
    }  # fmt: skip
    assert [(setting.attribute, setting.value) for setting in card.settings] == [("temperature", 2.0)]
    loaded, x = zoo.load(str(folder)), images_for(model)
    for mine, own in zip(loaded.predict_routed(x), model.predict_routed(x), strict=True):
        np.testing.assert_allclose(mine, own, atol=1e-6)
    assert (loaded.get_layer("top_k").temperature, loaded.drop_below) == (2.0, 0.25)
    predictions = loaded.predict(x, verbose=0)
    best = int(predictions[0].argmax())
    assert zoo.decode_predictions(predictions, folder, top=1)[0] == [
        (best, LABELS[best], pytest.approx(predictions.max(-1)[0]))
    ]


@pytest.mark.once
def test_another_end_and_a_new_head(folder):
    model = models.Classifier((8, 8, 3), 0.5, "resnet8", classes=3, classifier_activation=None)
    zoo.save(model, folder, classifier_activation="softmax")
    x = images_for(model)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(x, verbose=0)))
    np.testing.assert_allclose(zoo.load(folder).predict(x, verbose=0), expected, atol=1e-6)
    assert zoo.card(folder).classes == ("0", "1", "2")
    assert zoo.load(folder, classes=7).output_shape == (None, 7)


@pytest.mark.once
def test_half_precision(tiny, folder):
    tiny.drop_below = 0.1
    card = zoo.save(tiny, folder, dtype="float16", overwrite=True)
    stored = read_tensors(folder / "weights.safetensors")
    assert {t.dtype.name for t in stored.values() if t.ndim} == {"float16"}
    assert zoo.load(folder).drop_below == tiny.drop_below  # not 0.0999755859375, float16's nearest
    assert card.file("weights.safetensors").size < 2 * card.params + 10_000
    tiny.drop_below = 0.0
    large = models.Classifier((8, 8, 3), 0.5, "resnet8", classes=3)
    large.get_layer("backbone").get_layer("stem_conv_bn").moving_variance.assign(np.full(8, 1e5))
    with pytest.raises(ValueError, match=r"stem_conv_bn/moving_variance has values beyond the range of float16; store"):
        zoo.save(large, folder.with_name("large"), dtype="float16")
    assert os.listdir(folder.parent) == ["My Flowers"]


@pytest.mark.once
def test_fields_of_the_card_and_records(tiny, folder):
    images = images_for(tiny)
    predictions, route = tiny.predict_routed(images)
    card = zoo.save(
        tiny, folder, name="flowers", license="CC0-1.0", data=zoo.Data("mine", "CC0-1.0"), macs_executed=123.0,
        metrics=(zoo.Metric("accuracy", 0.5, "test", (0,), (0.5,)),), records={"log": {"loss": [0.12345678]}},
        golden={"images": images, "outputs": predictions, "route": route},
    )  # fmt: skip
    assert zoo.card(folder) == card
    assert (card.name, card.system, card.macs_executed, card.data.name) == ("flowers", "hydranet", 123.0, "mine")
    assert sorted(file.name for file in card.files) == ["golden.safetensors", "weights.safetensors"]
    assert "0.123457" in (folder / "log.json").read_text()
    assert [path.name for path in zoo.download(folder, folder.parent / "copy", "weights*")] == ["weights.safetensors"]


def stranger():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, "softmax")(keras.layers.GlobalAveragePooling2D()(x)))


def changed(change):
    model = models.HydraNet(**TINY)
    change(model)
    return model


def with_lora(model):
    model.get_layer("combiner").get_layer("predictions").enable_lora(2)


def quantized(model):
    model.get_layer("combiner").get_layer("predictions").quantize("int8")


class Mine(models.HydraNet):
    """A class of one's own."""


REFUSED = {
    "a stranger's network": (lambda: models.upcycle(stranger(), "conv", 2), "from a classifier of your own"),
    "a class of one's own": (lambda: Mine(**TINY), "Mine is no class of keras_moe.models"),
    "another Keras model": (stranger, "Functional is no class of keras_moe.models"),
    "LoRA": (lambda: changed(with_lora), "'lora'"),
    "quantized": (
        lambda: changed(lambda m: m.get_layer("combiner").get_layer("predictions").quantize("int8")),
        "'dtype'",
    ),
    "no head": (lambda: models.HydraNet(**TINY, include_top=False), "no head"),
    "no size": (lambda: models.Classifier((None, None, 3), 0.5, "resnet8"), "no fixed size"),
}


@pytest.mark.once
@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_card_cannot_describe_is_refused(kind, folder):
    make, why = REFUSED[kind]
    with pytest.raises(
        ValueError, match=r"cannot be saved as a model folder: .*`model.save\('x.keras'\)`\.$"
    ) as raised:
        zoo.save(make(), folder)
    assert why in str(raised.value)
    assert not os.listdir(folder.parent)


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"labels": ("a", "b")}, ValueError, "`labels` must be 3 names of classes"),
        ({"labels": "abc"}, ValueError, "`labels` must be a list of str, in the order of the classes"),
        ({"labels": {"a", "b", "c"}}, ValueError, "`labels` must be a list of str, in the order of the classes"),
        ({"labels": [b"a", None, 3]}, ValueError, r"printable lines of text.*Received: labels=\[b'a', None, 3\]"),
        ({"labels": ("a", "b", "a")}, ValueError, "labels must be distinct"),
        ({"labels": ("a", "b", "c\nd")}, ValueError, "printable lines of text"),
        ({"dtype": "bfloat16"}, ValueError, "`dtype` must be one of"),
        ({"overwrite": 1}, ValueError, "`overwrite` must be a bool"),
        ({"licence": "MIT"}, TypeError, r"a card has no fields \['licence'\]"),
        ({"name": "../x"}, ValueError, "must be plain names"),
        ({"license": 3}, ValueError, "license: expected str. Received: 3"),
        ({"records": {"../log": 1}}, ValueError, r"Expected a name of .* Received: '../log.json'"),
        ({"records": {"log": object()}}, TypeError, "not JSON serializable"),
        ({"calibration": np.zeros((2, 9, 8, 3))}, ValueError, "`calibration` must be one or more images"),
        ({"calibration": np.full((2, 8, 8, 3), 256)}, ValueError, r"must be pixels in \[0, 255\]"),
        ({"calibration": np.full((2, 8, 8, 3), np.nan)}, ValueError, r"must be pixels in \[0, 255\]"),
    ],
)
def test_a_wrong_argument_writes_nothing(arguments, error, message, tiny, folder):
    with pytest.raises(error, match=message):
        zoo.save(tiny, folder, **arguments)
    assert not os.listdir(folder.parent)


@pytest.mark.once
def test_weights_that_are_not_finite_are_refused(folder):
    model = models.Classifier((8, 8, 3), 0.5, "resnet8", classes=3)
    model.weights[0].assign(np.full(model.weights[0].shape, np.nan))
    with pytest.raises(ValueError, match=r"stem_conv/kernel has values that are not finite"):
        zoo.save(model, folder)
    assert not os.listdir(folder.parent)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.once
def test_overwriting_takes_a_word_and_keeps_other_files(tiny, folder):
    zoo.save(tiny, folder, labels=LABELS, records={"log": 1}, calibration=images_for(tiny))
    (folder / "app").mkdir()
    (folder / "app" / "model.tflite").write_text("mine")
    before = content(folder)
    with pytest.raises(FileExistsError, match=r"My Flowers exists; nothing was written. `overwrite=True` replaces"):
        zoo.save(tiny, folder)
    assert content(folder) == before
    card = zoo.save(tiny, folder, labels=["a", "b", "c"], overwrite=True)
    assert zoo.card(folder) == card
    assert content(folder).keys() == {"app/model.tflite", "card.toml", "labels.txt", "weights.safetensors"}
    assert content(folder)["app/model.tflite"] == b"mine"
    assert os.listdir(folder.parent) == ["My Flowers"]


@pytest.mark.once
def test_other_folders_are_left_alone(tiny, folder, tmp_path):
    folder.mkdir()
    (folder / "diary.txt").write_text("dear")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="exists and is no model folder"):
            zoo.save(tiny, folder, overwrite=overwrite)
    with pytest.raises(FileNotFoundError, match="No such folder"):
        zoo.save(tiny, tmp_path / "a" / "b")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError):
        zoo.save(tiny, tmp_path / "file", overwrite=True)
    assert content(tmp_path) == {"My Flowers/diary.txt": b"dear", "file": b"x"}
    (folder / "diary.txt").unlink()
    zoo.save(tiny, folder)  # an empty folder is fine
    (tmp_path / "link").symlink_to(folder)
    zoo.save(tiny, tmp_path / "link", name="linked", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert zoo.card(folder).name == "linked"


@pytest.mark.once
@pytest.mark.parametrize("fails", ["write_bytes", "os.rename"])
@pytest.mark.parametrize("calls", [0, 1, 2])
def test_a_full_disk_at_any_moment_changes_nothing(fails, calls, tiny, folder, monkeypatch):
    zoo.save(tiny, folder, labels=LABELS)
    before, owner = content(folder), writing if fails == "write_bytes" else writing.os
    name, done = fails.rpartition(".")[2], []
    original = getattr(owner, name)

    def full(*arguments):
        done.append(arguments)
        if len(done) == calls + 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*arguments)

    if fails == "os.rename" and calls == 2:
        pytest.skip("there are two renames")
    monkeypatch.setattr(owner, name, full)
    with pytest.raises(OSError, match="No space left"):
        zoo.save(tiny, folder, overwrite=True)
    monkeypatch.undo()
    assert content(folder) == before
    assert os.listdir(folder.parent) == ["My Flowers"]


@pytest.mark.once
def test_killed_between_the_two_renames_nothing_is_lost(tiny, folder, monkeypatch):
    zoo.save(tiny, folder, labels=LABELS)
    before = content(folder)
    os.rename(folder, folder.with_name(".My Flowers.old"))  # what a kill leaves there
    assert zoo.card(folder).classes == LABELS
    assert content(folder) == before
    os.rename(folder, folder.with_name(".My Flowers.old"))
    with pytest.raises(FileExistsError, match="`overwrite=True`"):
        zoo.save(tiny, folder)
    assert content(folder) == before


@pytest.mark.once
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("given", "kept"), [(1, [0]), (5, range(5)), (20, [0, 1, 3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 15, 16, 18, 19])]
)
def test_calibration_images_come_back_exactly(given, kept, channels, folder):
    model = models.Classifier((6, 8, channels), 0.5, "resnet8", classes=3)
    images = np.random.default_rng(0).integers(0, 255, (given, 6, 8, channels), "uint8")
    card = zoo.save(model, folder, calibration=images + 0.4)
    assert card.file("calibration.webp").size < 1000 + images.size * 2
    np.testing.assert_array_equal(zoo.calibration_images(folder), images[list(kept)])
    assert re.fullmatch(r"RIFF....WEBP", (folder / "calibration.webp").read_bytes()[:12].decode("latin1"), re.DOTALL)


@pytest.mark.once
def test_without_calibration_images(tiny, folder):
    zoo.save(tiny, folder)
    assert zoo.calibration_images(folder) is None
    assert zoo.calibration_images("test_hydranet") is None
    model = models.Classifier((8, 8, 3), 0.5, "resnet8", classes=3, include_preprocessing=False)
    with pytest.raises(ValueError, match=r"`calibration` must be None for a model that takes \[-1, 1\]"):
        zoo.save(model, folder, calibration=np.zeros((1, 8, 8, 3)), overwrite=True)
    with pytest.raises(ValueError, match=r"Received: numbers in \[0, 1\]"):
        zoo.save(tiny, folder, calibration=images_for(tiny) / 255, overwrite=True)
