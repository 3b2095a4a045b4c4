"""A budget of multiply-accumulates turned into dynamic k; and the cost of images and of routes."""

import keras
import numpy as np
import pytest
from descriptors import HYDRA
from keras import layers

from keras_moe.models import HydraNet, upcycle
from keras_moe.training import fit_drop_below

pytestmark = pytest.mark.once

X = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3)).astype("float32")


def test_drop_below_for_a_budget(monkeypatch):
    model = HydraNet(**HYDRA)
    parts = model.macs_by_part()
    always, branch = parts["stem"] + parts["gate"] + parts["combiner"], parts["branches"][0]
    route = np.array([[0.625, 0.375, 0], [0.125, 0.875, 0], [0.5625, 0, 0.4375], [0, 0.25, 0.75]], "float32")
    monkeypatch.setattr(model, "route", lambda images: route)
    for experts, threshold in ((2.0, 0.0), (1.5, 0.251), (1.25, 0.376), (1.0, 0.438)):  # experts per image
        point = fit_drop_below(model, X, budget=always + experts * branch)
        assert point.value == pytest.approx(threshold, abs=1e-9)
        assert point.macs == pytest.approx(always + sum(point.usage) * branch)
        assert sum(point.usage) == pytest.approx(experts)
        assert point.exits == 0
        assert model.drop_below == pytest.approx(threshold, abs=1e-6)
    with pytest.raises(ValueError, match="the least this model costs"):
        fit_drop_below(model, X, always + 0.9 * branch)
    assert model.drop_below == pytest.approx(0.438, abs=1e-6)


def test_the_budget_is_kept():
    model = HydraNet(**HYDRA)
    budget = (model.mean_macs(images=X) + model.macs_total) / 2 - max(model.macs_by_part()["branches"])
    assert 0 <= fit_drop_below(model, X, budget).value <= 1
    assert model.mean_macs(images=X) <= budget


@pytest.fixture(scope="module")
def vectors():
    """A mixture whose inputs are vectors of as many numbers as there are experts."""
    classifier = keras.Sequential([keras.Input((6,)), layers.Dense(8), layers.Dense(8), layers.Dense(4)])
    return upcycle(classifier, classifier.layers[0].name, num_experts=6, system="hydranet", top_k=1)


def test_vectors_are_not_taken_for_their_route(vectors):
    x, parts = np.random.default_rng(0).random((5, 6)), vectors.macs_by_part()
    always = sum(m for m in parts.values() if not isinstance(m, list))
    one = always + (8 * 8 + 8 * 4)
    assert vectors.mean_macs(images=x) == vectors.mean_macs(route=vectors.route(x)) == one
    assert vectors.mean_macs(route=vectors.predict_routed(x)[1][:2]) == one
    assert vectors.mean_macs(route=np.eye(6)[:2] + np.eye(6)[2:4]) == always + 2 * (8 * 8 + 8 * 4)


def test_what_is_neither_images_nor_a_route(vectors):
    model = HydraNet(**HYDRA)
    for wrong in (np.zeros((2, 4)), np.zeros((2, 8, 8, 1)), np.zeros(3), np.eye(3)):
        with pytest.raises(ValueError, match=r"expected images \(\d, 8, 8, 3\)"):
            model.mean_macs(images=wrong)
    for wrong in (np.zeros((0, 3)), np.eye(4), vectors.route(np.random.default_rng(0).random((5, 6)))):
        with pytest.raises(ValueError, match="at least one row of 3 weights"):
            model.mean_macs(route=wrong)
    for both in ({}, {"images": X, "route": np.eye(3)}):
        with pytest.raises(ValueError, match="either `images` or `route`"):
            model.mean_macs(**both)
