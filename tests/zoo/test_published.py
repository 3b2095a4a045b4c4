"""Every published model is what its card says, on every backend."""

import dataclasses

import numpy as np
import pytest
from keras import ops

from keras_moe import zoo
from keras_moe.recipes import list_recipes, load_recipe
from keras_moe.weights import read_tensors
from keras_moe.zoo.model_cards_md import stale
from keras_moe.zoo.store import fetch, published_folder

NAMES = zoo.list_models()
PINNED = ("*.safetensors", "*.tflite", "parts_*.json")
each = pytest.mark.parametrize("name", NAMES)


def test_the_zoo_is_there():
    assert {"hydranet_cifar100", "resnet20_cifar100", "test_hydranet"} <= set(NAMES)
    files = [f for f in published_folder().rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    assert sum(f.stat().st_size for f in files) < 95e6


@pytest.mark.once
def test_the_cards_that_are_read_are_those_of_the_zoo():
    assert not [path.name for path in stale()], "out of date: run `make cards`"


@each
def test_card_files_and_golden_tensors(name):
    card = zoo.card(name)
    model = zoo.load(name, **{"classifier_activation": None} if card.classes else {})
    assert (card.params, card.macs_total) == (model.count_params(), model.macs_total)
    assert model.output_shape[-1] == (len(card.classes) or card.input.shape[-1])
    assert model.input_shape[1:] == card.input.shape
    assert not card.baseline or card.baseline in NAMES
    folder = published_folder() / name
    assert {f.name for f in card.files} == {f.name for p in PINNED for f in folder.glob(p)}
    assert sum(f.size for f in card.files) < (200_000 if name.startswith("test_") else 30e6)
    assert card.recipe == f"keras_moe.recipes.{name}"
    assert all((card.system, card.summary, card.paper, card.paper_url, card.license, card.recipe_note, card.metrics))
    assert all(dataclasses.astuple(card.data))
    assert name in list_recipes()
    assert (folder / "log.json").is_file()
    assert (folder / "metrics.json").is_file()

    golden = read_tensors(fetch(name, card.file("golden.safetensors")))
    outputs, route = model.predict_routed(golden["images"].astype("float32"))
    if outputs.ndim == 4:
        step = round(outputs.shape[1] / golden["outputs"].shape[1])
        outputs = outputs[:, ::step, ::step]
    np.testing.assert_allclose(outputs, golden["outputs"], atol=1e-3)
    if route is not None:
        np.testing.assert_array_equal(route != 0, golden["route"] != 0)
        np.testing.assert_allclose(route, golden["route"], atol=1e-4)


@pytest.mark.once
@pytest.mark.parametrize("name", [name for name in NAMES if zoo.card(name).task == "classification"])
def test_probabilities_choose_as_the_golden_logits(name):
    golden = read_tensors(fetch(name, zoo.card(name).file("golden.safetensors")))
    probabilities = zoo.load(name).predict(golden["images"].astype("float32"), verbose=0)
    np.testing.assert_array_equal(probabilities.argmax(-1), golden["outputs"].argmax(-1))


@each
def test_a_card_says_what_its_recipe_says(name):
    card, recipe = zoo.card(name), load_recipe(name)
    for field in ("name", "summary", "paper", "paper_url", "recipe_note", "baseline", "config"):
        assert getattr(card, field) == getattr(recipe, field)
    for field in ("task", "data", "license", "classes"):
        assert getattr(card, field) == getattr(recipe.dataset, field)
    assert card.system == (recipe.model.system or "dense")
    assert (card.model, card.input.channels) == (recipe.model.__name__, recipe.dataset.channels)
    assert card.metrics[0].name == recipe.dataset.card_metrics[0]


@pytest.mark.once
@pytest.mark.parametrize("name", [name for name in NAMES if zoo.card(name).data.name == "BSD400 + T91"])
def test_flat_colours_stay_as_they_are(name):
    """Black, white, greys and saturated colours, of which photographs to learn from hold few."""
    levels = (0, 128, 255)
    colours = np.array([(r, g, b) for r in levels for g in levels for b in levels], "float32")
    flat = np.broadcast_to(colours[:, None, None], (27, *zoo.card(name).input.shape))
    model = zoo.load(name)
    edge = 8 * model.scale  # beside its border a patch sees zeros
    middle = np.clip(model.predict(flat, verbose=0)[:, edge:-edge, edge:-edge], 0, 255)
    assert np.abs(middle - colours[:, None, None]).max() < 10


@pytest.mark.parametrize(("name", "metric"), [("test_hydranet", "accuracy"), ("test_segmentation", "miou")])
def test_the_tiny_models_figures_are_reproduced(name, metric):
    """The digits come with scikit-learn, so these cards' figures can be measured anywhere."""
    card = zoo.card(name)
    found = load_recipe(name).measure(zoo.load(card.name))
    published = next(m.value for m in card.metrics if m.name == f"{metric} of these weights")
    assert found[metric] == pytest.approx(published, abs=1e-3)
    assert found["macs_executed"] == pytest.approx(card.macs_executed, rel=1e-3)


def test_a_new_head_keeps_the_rest():
    old, new = zoo.load("test_hydranet"), zoo.load("test_hydranet", classes=3)
    kept = [i for i, w in enumerate(old.weights) if "predictions" not in w.path]
    assert len(kept) == len(old.weights) - 2
    for i in kept:
        np.testing.assert_array_equal(new.get_weights()[i], old.get_weights()[i])
    assert new.output_shape == (None, 3)


@pytest.mark.once
def test_what_is_new_for_other_classes_has_the_values_of_its_class():
    kernel = ops.convert_to_numpy(zoo.load("segmentation_camvid", classes=3).get_layer("conv_predictions").kernel)
    assert kernel[1, 1].tolist() == np.eye(3).tolist()
    assert np.count_nonzero(kernel) == 3
    model = zoo.load("single_gated_cifar100", classes=3)
    heads = [network.layers[-1].get_weights()[0] for network in (model.get_layer("tail"), *model.bank.experts)]
    assert heads[0].any()
    assert all(np.array_equal(heads[0], head) for head in heads[1:]), "experts start as copies of the base's tail"
