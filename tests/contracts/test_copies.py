"""Copied weights: training the copy leaves its source as it was, and weights that do not fit leave their target so."""

import keras
import numpy as np
import pytest

from keras_moe.layer_state import copy_weights, inner_layers, set_weights
from keras_moe.models import Classifier, HydraNet, upcycle
from keras_moe.models.growth import grow_from
from keras_moe.training.finetuning.start import rebuilt, start_from

TINY = {"input_shape": (8, 8, 3), "backbone": "resnet8", "alpha": 0.5, "classes": 3, "classifier_activation": None}


def _upcycled():
    source = Classifier(**TINY)
    return source, upcycle(source, num_experts=2, system="hydranet")


def _rebuilt():
    source = HydraNet(**TINY, num_experts=2)
    return source, rebuilt(source)


def _grown():
    start = start_from(Classifier(**TINY), classes=3, size=None, num_experts=2)
    copy = start.make_mixture()
    grow_from(copy, start.dense)
    return start.dense, copy


@pytest.mark.parametrize("copied", [_upcycled, _rebuilt, _grown])
def test_training_a_copy_leaves_its_source(copied):
    source, copy = copied()
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3))
    before, weights = source.predict(images, verbose=0), source.get_weights()
    copy.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    copy.fit(images, np.zeros(4, int), verbose=0)
    np.testing.assert_array_equal(source.predict(images, verbose=0), before)
    assert all(np.array_equal(a, b) for a, b in zip(source.get_weights(), weights, strict=True))


def _dense(units):
    """Two layers of ones: the first alike for any ``units``."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(units)])
    model.set_weights([np.ones_like(w) for w in model.get_weights()])
    return model


def _from_another(target):
    copy_weights(_dense(5), target)


def _from_arrays(target):
    set_weights(target, [np.zeros((2, 3)), np.zeros(3), np.zeros((3, 5)), np.zeros(5)])


def _of_other_layers(target):
    source = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.EinsumDense("ab,bc->ac", (4,))])
    copy_weights(source, target)


def _without_bias(target):
    source = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(4, use_bias=False)])
    copy_weights(source, target)


@pytest.mark.parametrize(
    ("assign", "message"),
    [
        (_from_another, r"other shapes than those of 'sequential\w*'.*: \(3, 5\) for \(3, 4\)"),
        (_from_arrays, r"other shapes than those of 'sequential\w*'.*: \(3, 5\) for \(3, 4\)"),
        (lambda target: set_weights(target, [np.zeros((2, 3))]), "has 4 weights. Received: 1 arrays"),
        (_of_other_layers, "have other layers"),
        (_without_bias, r"'dense\w*' has the weights \['kernel'\], 'dense\w*' has \['kernel', 'bias'\]"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(assign, message):
    target = _dense(4)
    with pytest.raises(ValueError, match=message):
        assign(target)
    assert all(np.all(w == 1) for w in target.get_weights())


def test_a_layer_that_two_parts_share_is_listed_once_and_after_both():
    shared = keras.layers.Dense(1)
    parts = [keras.Sequential([keras.Input((1,)), shared]) for _ in range(2)]
    x = keras.Input((1,))
    listed = inner_layers(keras.Model(x, [part(x) for part in parts]))
    assert [listed.count(layer) for layer in (shared, *parts)] == [1, 1, 1]
    assert listed.index(shared) > max(map(listed.index, parts))
