"""Layers that change after their first use: every way to ask a model follows at once, without compiling anew."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_moe.layers import ExpertBank, TopKGate
from keras_moe.layers.changes import MadeOf
from keras_moe.models.base import MoEModel

# Expert k maps x to (k + 1) x + k; the first image takes expert 0, the second expert 1, the third expert 2.
X = np.array([[2.001, 0.004], [0, 3], [-1, -1]], "float32")
ROUTE = np.eye(3)
Y = np.array([[2.001, 0.004], [1, 7], [-1, -1]])


def dense(scale, bias, name):
    layer = keras.layers.Dense(2, name=name)
    layer.build((None, 2))
    layer.set_weights([np.eye(2) * scale, np.full(2, bias)])
    return layer


def affine_model():
    inputs = keras.Input((2,))
    gate = keras.layers.Dense(3, name="gate")
    logits = gate(inputs)
    gate.set_weights([np.eye(2, 3), np.zeros(3)])
    route = TopKGate(name="top_k")(logits)
    layers = [dense(k + 1, k, f"dense_{k}") for k in range(3)]
    experts = [keras.Sequential([keras.Input((2,)), layer], name=f"expert_{k}") for k, layer in enumerate(layers)]
    outputs = ExpertBank(experts, name="experts")(inputs, route)
    parts = {"gate": ["gate", "top_k"], "experts": ["experts"]}
    return MoEModel(inputs, outputs, parts, gate={"gate_logits": logits, "routing_weights": route}, name="affine")


def layer_of(model, k):
    return model.bank.experts[k].layers[0]


def lora(layer):
    """Its kernel grows by one everywhere: outputs by the sum of the input."""
    layer.enable_lora(1, lora_alpha=1)
    layer.lora_kernel_a.assign(np.ones((2, 1)))
    layer.lora_kernel_b.assign(np.ones((1, 2)))


def lora_on_all(model):
    for k in range(3):
        lora(layer_of(model, k))


def each_its_own(model):
    layer_of(model, 0).quantize("int8")  # 127 steps up to the largest number of a row: 0.004 of 2.001 is none of them
    lora(layer_of(model, 1))
    layer_of(model, 2).activation = keras.activations.relu


def replaced(model):
    layer_of(model, 0).dtype_policy = "bfloat16"  # which has no 2.001
    model.bank.experts[1].pop()
    model.bank.experts[1].add(dense(10, 0, "other"))
    model.bank.experts[2] = dense(20, 0, "another")
    model.bank.trainable = False


def rerouted(model):
    model.get_layer("gate").activation = ops.negative  # the first image goes to expert 2, the others to expert 0
    layer_of(model, 0).set_weights([np.eye(2) * 10, np.zeros(2)])


CHANGES = {
    lora_on_all: [[4.006, 2.009], [4, 10], [-3, -3]],
    each_its_own: [[2.001, 0], [4, 10], [0, 0]],
    replaced: [[2, 0.004], [0, 30], [-20, -20]],
    rerouted: [[8.003, 2.012], [0, 30], [-10, -10]],
}


def check(model, y, route):
    """Every way to ask ``model`` gives ``y`` and ``route``."""
    routed, found = model.predict_routed(X)
    np.testing.assert_array_equal(found, route)
    np.testing.assert_array_equal(model.route(X), route)
    ways = {
        "call": ops.convert_to_numpy(model(X)),
        "call one": ops.convert_to_numpy(model(X[:1])),
        "predict": model.predict(X, verbose=0),
        "predict_routed": routed,
        "predict_with_route": model.predict_with_route(X, route),
    }
    for name, found in ways.items():
        np.testing.assert_allclose(found, y[: len(found)], atol=1e-4, err_msg=name)
    assert model.evaluate(X, np.asarray(y, "float32"), verbose=0) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_way_follows_a_change(change):
    model = affine_model()
    model.compile("sgd", "mse")
    check(model, Y, ROUTE)
    change(model)
    check(model, CHANGES[change], [[0, 0, 1], [1, 0, 0], [1, 0, 0]] if change is rerouted else ROUTE)


def test_a_bank_in_a_model_of_keras_own_follows_after_compile():
    inputs = [keras.Input((2,)), keras.Input((3,))]
    model = keras.Model(inputs, ExpertBank([dense(k + 1, k, f"dense_{k}") for k in range(3)], name="bank")(*inputs))
    x = [X, ROUTE.astype("float32")]
    np.testing.assert_allclose(model.predict(x, verbose=0), Y, atol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(model(x)), Y, atol=1e-6)
    for layer in model.get_layer("bank").experts:
        lora(layer)
    model.compile("sgd", "mse")
    np.testing.assert_allclose(model.predict(x, verbose=0), CHANGES[lora_on_all], atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(model(x)), CHANGES[lora_on_all], atol=1e-5)


def test_a_replaced_expert_learns_and_counts_among_the_weights():
    model = affine_model()
    model.bank.experts[0] = dense(10, 0, "other")
    assert any(v is model.bank.experts[0].kernel for v in model.trainable_variables)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(X, np.zeros((3, 2)), verbose=0)
    assert not np.array_equal(model.bank.experts[0].get_weights()[0], np.eye(2) * 10)
    np.testing.assert_allclose(model.predict(X, verbose=0), ops.convert_to_numpy(model(X)), atol=1e-5)


def test_the_cost_is_that_of_the_experts_that_are_there():
    model = affine_model()
    assert model.macs_by_part() == {"gate": 6, "experts": [4, 4, 4]}
    assert model.macs_total == 18
    model.bank.experts[1] = keras.Sequential([keras.Input((2,)), keras.layers.Dense(5), keras.layers.Dense(2)])
    assert model.macs_by_part() == {"gate": 6, "experts": [4, 20, 4]}
    assert model.mean_macs(route=[[0, 1, 0], [1, 0, 0]]) == 6 + (20 + 4) / 2
    model.macs_by_part()["experts"].clear()  # the caller's own
    assert model.macs_total == 34


def test_nothing_is_made_anew_without_a_change():
    model = affine_model()
    model.compile("sgd", "mse")
    model.predict(X, verbose=0), model.evaluate(X, Y, verbose=0), model.route(X)
    functions = model.predict_function, model.test_function, model.router.predict_function
    model.fit(X, Y, verbose=0)
    layer_of(model, 0).set_weights([np.eye(2) * 10, np.zeros(2)])
    model(X), model.predict(X, verbose=0), model.evaluate(X, Y, verbose=0), model.route(X)
    assert functions == (model.predict_function, model.test_function, model.router.predict_function)


def test_made_of():
    layer, made = dense(1, 0, "dense"), []
    remember = MadeOf(lambda layer: made.append(layer.activation))
    remember(layer), remember(layer)
    assert len(made) == 1
    layer.activation = keras.activations.tanh
    remember(layer), remember(layer)
    assert made[1:] == [keras.activations.tanh]
    layer.scale = 2.0  # one thing more, after all that it was made of
    remember(layer), remember(layer)
    assert len(made) == 3
    del layer.scale
    remember(layer)
    assert len(made) == 4
