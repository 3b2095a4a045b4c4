"""What earlier versions wrote is still read: the ``.keras`` files and model folders in ``tests/zoo/kept/VERSION``.

``python tests/zoo/test_kept_files.py`` writes those of the present version, once: what is there is never written anew.
"""

import pathlib
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


def test_networks_of_ones_own_written_under_other_names_of_call_arguments(tmp_path):
    images = keras.Input((4, 4, 3))
    features = keras.layers.GlobalAveragePooling2D()(images)
    routing_weights = layers.TopKGate(1)(keras.layers.Dense(2)(features))
    experts = layers.ExpertBank([keras.layers.Dense(6), keras.layers.Dense(6)])(features, routing_weights)
    ensemble = layers.Ensembler(learned=True)(keras.layers.Dense(6)(features), experts, routing_weights)
    maps = layers.WeightedSum(2)(keras.layers.Conv2D(12, 1)(images), routing_weights)
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps) + ensemble)
    model.save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b'"routing_weights_shape"', b'"weights_shape"'))
        assert new.read("config.json").count(b'"routing_weights_shape"') == 3
    again = keras.models.load_model(tmp_path / "old.keras")
    np.testing.assert_array_equal(*(m.predict(images_for(model), verbose=0) for m in (model, again)))


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
