"""A model whose weights were copied answers as before once the copy was trained: the two share no memory."""

import keras
import numpy as np
import pytest

from keras_moe.models import Classifier, HydraNet, upcycle
from keras_moe.training.finetuning.start import grow_from, rebuilt, start_from

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
