"""Functions of TensorFlow run one expert's graph with the weights of whichever is chosen."""

import keras
import numpy as np
import pytest
from hand_made import conv_experts, tensors

from keras_moe.layers import ExpertBank, inference_only
from keras_moe.layers.dispatch import dense, gathered
from keras_moe.models.base import RoutedModel

TENSORFLOW = keras.backend.backend() == "tensorflow"
if TENSORFLOW:
    import tensorflow as tf

    from keras_moe.layers.dispatch.tensorflow import can_swap
pytestmark = pytest.mark.skipif(not TENSORFLOW, reason="TensorFlow's functions")


def test_the_promise_of_no_gradient():
    bank = ExpertBank(conv_experts())
    x, w = tensors(np.random.default_rng(0).normal(size=(5, 6, 6, 2)), np.eye(3)[[0, 1, 1, 0, 1]])
    expected = dense(bank.experts, x, w)
    plain, promised = (tf.function(lambda x, w: bank(x, w, training=False)) for _ in range(2))
    with inference_only():
        np.testing.assert_allclose(promised(x, w), expected, atol=1e-5)
    held = [len(f.get_concrete_function(x, w).captured_inputs) for f in (plain, promised)]
    assert held == [18, 1]  # the variables of three experts; one table of references to them

    for weight in bank.experts[1].weights:
        weight.assign(weight * 2 + 1)
    expected = dense(bank.experts, x, w)
    np.testing.assert_allclose(promised(x, w), expected, atol=1e-4)
    with tf.GradientTape() as tape:  # what nobody promised keeps its gradients
        total = tf.reduce_sum(plain(x, w))
    gradients = tape.gradient(total, [v.value for v in bank.trainable_variables])
    assert [np.abs(g).max() > 0 for g in gradients[:-4]] == [True] * 8


@pytest.mark.parametrize(
    ("options", "training", "fused"),
    [({}, None, 1), ({}, False, 1), ({}, True, 1), ({"axis": 1}, True, 0), ({"scale": False}, None, 0),
     ({"center": False}, None, 0), ({"dtype": "float64"}, None, 0)],
)  # fmt: skip
def test_norms_of_swapped_experts(options, training, fused):
    def expert(k):
        inputs = keras.Input((6, 6, 2))
        norm = keras.layers.BatchNormalization(name=f"bn_{k}", **options)
        inner = keras.Model(inputs, norm(inputs, training=training), name=f"inner_{k}")
        outer = keras.Sequential([keras.Input((6, 6, 2)), inner], name=f"outer_{k}")
        norm.set_weights([np.random.default_rng(k).uniform(0.5, 2, v.shape) for v in norm.weights])
        return outer

    bank = ExpertBank([expert(k) for k in range(2)])
    x, w = tensors(np.random.default_rng(0).normal(size=(5, 6, 6, 2)), np.eye(2)[[0, 1, 1, 0, 1]])
    expected = gathered(bank.experts, x, w)
    promised = tf.function(lambda x, w: bank(x, w, training=False))
    with inference_only():
        found = promised.get_concrete_function(x, w)
    np.testing.assert_allclose(found(x, w), expected, atol=1e-5)
    nodes = [node.op for f in found.graph.as_graph_def().library.function for node in f.node_def]
    assert nodes.count("FusedBatchNormV3") == fused


def test_experts_that_differ_are_not_swapped():
    def expert(name, activation="relu", units=2):
        return keras.Sequential([keras.Input((2,)), keras.layers.Dense(units, activation, name=f"{name}_x")], name=name)

    def swaps(*experts):
        with inference_only(), tf.Graph().as_default():
            return can_swap(experts)

    assert swaps(expert("a"), expert("b"))
    assert not swaps(expert("a"), expert("b", "tanh"))
    assert not swaps(expert("a"), keras.Sequential([expert("b")]))
    assert not can_swap([expert("a"), expert("b")])  # nobody promised


def test_experts_that_changed_apart_are_not_swapped():
    class Times(keras.layers.Layer):
        """Its configuration says how it was made, not how it is now."""

        def __init__(self, factor=1, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def build(self, shape):
            self.weight = self.add_weight(shape=(), initializer="ones")

        def call(self, x):
            return x * self.factor * self.weight

    inputs = [keras.Input((2,)), keras.Input((2,))]
    model = RoutedModel(inputs, ExpertBank([Times(), Times()])(*inputs))
    x, w = np.ones((2, 2), "float32"), np.eye(2, dtype="float32")
    np.testing.assert_array_equal(model.predict([x, w], verbose=0), [[1, 1], [1, 1]])
    model.layers[-1].experts[1].factor = 5
    np.testing.assert_array_equal(model.predict([x, w], verbose=0), [[1, 1], [5, 5]])
