"""What earlier versions wrote is still read: the ``.keras`` files and model folders in ``tests/zoo/kept/VERSION``.

``python tests/zoo/test_kept_files.py`` writes those of the present version, once: what is there is never written anew.
"""

import json
import pathlib
import shutil
import sys
import zipfile

import keras
import numpy as np
import pytest

import keras_moe
from keras_moe import layers, models, zoo
from keras_moe.weights import read_tensors, write_tensors

pytestmark = pytest.mark.once

KEPT = pathlib.Path(__file__).with_name("kept")
OUTPUTS = "outputs.safetensors"
KINDS = (
    "upcycled_hydranet", "single_gated_top2", "segmentation", "segmentation_sparse", "patcher", "classsr", "unet",
)  # fmt: skip
VERSIONS = sorted(path.name for path in KEPT.iterdir()) if KEPT.exists() else []


def images_for(model):
    return np.random.default_rng(0).uniform(0, 255, (2, *model.input_shape[1:])).astype("float32")


def check(version, name, model):
    expected = read_tensors(KEPT / version / OUTPUTS)[name]
    np.testing.assert_allclose(model.predict(images_for(model), verbose=0), expected, rtol=1e-3, atol=1e-4)


def test_there_are_some_of_this_version():
    assert ".".join(keras_moe.__version__.split(".")[:2]) in VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_keras_files(version, kind):
    check(version, kind, keras.models.load_model(KEPT / version / f"{kind}.keras"))


@pytest.mark.parametrize("version", VERSIONS)
def test_model_folders(version):
    folder = KEPT / version / "pets"
    model = zoo.load(folder)
    check(version, "pets", model)
    assert model.get_layer("top_k").temperature == 2.0
    assert zoo.card(folder).classes == ("cat", "dog")
    assert zoo.calibration_images(folder).shape == (2, 8, 8, 3)


def test_networks_of_ones_own_written_under_older_names(tmp_path):
    images = keras.Input((4, 4, 3))
    features = keras.layers.GlobalAveragePooling2D()(images)
    gate_logits, base_logits = (keras.layers.Dense(size)(features) for size in (2, 6))
    top = layers.TopKGate(2, train_top_k=1, name="top")(gate_logits)
    early_exit = layers.EarlyExit(threshold=0.2)
    weights = early_exit(routing_weights=top, gate_logits=gate_logits, base_logits=base_logits)
    experts = layers.ExpertBank([keras.layers.Dense(6), keras.layers.Dense(6)])(features, routing_weights=weights)
    ensemble = layers.Ensembler(learned=True)(base_logits, experts, routing_weights=weights)
    maps = layers.WeightedSum(2)(keras.layers.Conv2D(12, 1)(images), weights)
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps) + ensemble)
    model.save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in new.namelist():
            old.writestr(name, older(new.read(name)) if name == "config.json" else new.read(name))
    again = keras.models.load_model(tmp_path / "old.keras")
    assert (again.get_layer("top").top_k, again.get_layer("top").train_top_k) == (2, 1)
    np.testing.assert_array_equal(*(m.predict(images_for(model), verbose=0) for m in (model, again)))


def older(config):
    """The configuration of a network of one's own under the names that were once in it."""
    config = json.loads(config)
    config["config"]["layers"] = [
        json.loads(
            json.dumps(layer)
            .replace('"routing_weights', '"route' if layer["class_name"] == "EarlyExit" else '"weights')
            .replace('"train_top_k":', '"train_k":')
            .replace('"top_k":', '"k":' if layer["class_name"] == "TopKGate" else '"top_k":')
        )
        for layer in config["config"]["layers"]
    ]
    text = json.dumps(config)
    assert [text.count(f'"{name}"') for name in ("k", "train_k", "route", "weights", "weights_shape")] == [
        1,
        1,
        1,
        2,
        3,
    ]
    return text


def test_settings_of_a_card_written_under_older_names(tmp_path):
    folder = tmp_path / "pets"
    shutil.copytree(KEPT / VERSIONS[0] / "pets", folder)
    card = (folder / "card.toml").read_text("utf-8")
    older = card.replace('"temperature"\nvalue = 2.0', '"train_k"\nvalue = 2')
    assert older != card
    (folder / "card.toml").write_text(older, "utf-8")
    assert zoo.load(folder).get_layer("top_k").train_top_k == 2


def main():
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
    from descriptors import MODELS

    folder = KEPT / ".".join(keras_moe.__version__.split(".")[:2])
    folder.mkdir(parents=True)
    made = {d.name: d.create() for d in MODELS if d.name in KINDS}
    for name, model in made.items():
        model.save(folder / f"{name}.keras")
    made["pets"] = models.HydraNet((8, 8, 3), 0.25, "resnet8", 2, top_k=1, gate_filters=0, classes=2)
    made["pets"].get_layer("top_k").temperature = 2.0
    zoo.save(made["pets"], folder / "pets", labels=("cat", "dog"), calibration=np.full((2, 8, 8, 3), 7.0))
    write_tensors(folder / OUTPUTS, {name: model.predict(images_for(model), verbose=0) for name, model in made.items()})


if __name__ == "__main__":
    main()
