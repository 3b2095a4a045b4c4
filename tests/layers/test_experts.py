"""The bank's experts: their dtypes, their training, shapes that nobody tells, and what is refused."""

import contextlib

import keras
import numpy as np
import pytest
from hand_made import W, X, Y, affine_experts, tensors
from keras import ops

from keras_moe.layers import ExpertBank
from keras_moe.models.base import RoutedModel


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_bfloat16"])
def test_low_precision(policy):
    bank = ExpertBank(affine_experts(), dtype=policy)
    y = bank(*tensors(X, W))
    assert keras.backend.standardize_dtype(y.dtype) == bank.compute_dtype
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(y, "float32")), Y, rtol=0.02)


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize(
    ("policy", "inside"), [("float32", "mixed_float16"), ("mixed_float16", "float32"), ("mixed_bfloat16", "float16")]
)
def test_experts_compute_in_their_own_dtype(policy, inside, n):
    """The sum has the bank's; nobody chose the last expert, and for the third row nobody is chosen."""
    experts = affine_experts()
    for expert in experts:
        expert.dtype_policy = inside
    inputs = [keras.Input((2,)), keras.Input((3,))]
    model = RoutedModel(inputs, ExpertBank(experts, dtype=policy)(*inputs))
    x, w = np.array(X[:n], "float32"), np.array(W[:n], "float32")
    np.testing.assert_allclose(np.asarray(model.predict([x, w], verbose=0), "float32"), Y[:n], rtol=0.02)
    assert keras.backend.standardize_dtype(model([x, w]).dtype) == model.layers[-1].compute_dtype
    if n > 1:
        model.compile("sgd", "mse")
        model.fit([x, w], np.array(Y), verbose=0)


def test_training_on_one_row():
    """Half the squared error's gradient by the output is the output itself, (3, 5), where the target is zero."""
    inputs = [keras.Input((2,)), keras.Input((3,))]
    experts = affine_experts()
    model = keras.Model(inputs, ExpertBank(experts)(*inputs))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit([np.array([[1.0, 2.0]]), np.array([[0.0, 1, 0]])], np.zeros((1, 2)), verbose=0)
    expected = {0: (np.eye(2), [0, 0]), 1: ([[1.7, -0.5], [-0.6, 1.0]], [0.7, 0.5]), 2: (3 * np.eye(2), [2, 2])}
    for k, weights in expected.items():
        for found, wanted in zip(experts[k].get_weights(), weights, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch tells no gradient from zeros")
@pytest.mark.parametrize(("chosen", "warns"), [(0, False), (1, True)])
def test_an_expert_that_did_not_run_is_told_from_a_broken_one(chosen, warns):
    class Broken(keras.layers.Dense):
        def call(self, x):
            return ops.matmul(x, ops.stop_gradient(self.kernel))

    experts = [keras.layers.Dense(2, use_bias=False), Broken(2, use_bias=False)]
    inputs = [keras.Input((2,)), keras.Input((2,))]
    model = keras.Model(inputs, ExpertBank(experts)(*inputs))
    model.compile("sgd", "mse")
    experts[1 - chosen].kernel.assign(np.full((2, 2), np.nan))  # whatever it holds, it takes no part
    expected = pytest.warns(UserWarning, match="Gradients do not exist") if warns else contextlib.nullcontext()
    with expected:
        history = model.fit([np.ones((1, 2)), np.eye(2)[[chosen]]], np.ones((1, 2)), verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_experts_that_do_not_tell_their_shape():
    class Scaled(keras.layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

        def call(self, x):
            return x * self.scale

    inputs = [keras.Input((2,)), keras.Input((3,))]
    nested = keras.Sequential([keras.Input((2,)), Scaled()])
    model = keras.Model(inputs, ExpertBank([Scaled(), Scaled(), nested])(*inputs))
    for n in (1, 4):
        x, w = np.array(X[:n], "float32"), np.array(W[:n], "float32")
        expected = x * w.sum(1, keepdims=True)
        np.testing.assert_allclose(model.predict([x, w], verbose=0), expected, atol=1e-6)
        np.testing.assert_allclose(ops.convert_to_numpy(model([x, w])), expected, atol=1e-6)


def test_wrong_weights_are_refused():
    with pytest.raises(ValueError, match=r"one column per expert.*\(None, 16, 3\)"):
        ExpertBank(affine_experts()).build((None, 2), (None, 16, 3))
    with pytest.raises(ValueError, match=r"one column per expert.*\(None, 2\)"):
        ExpertBank(affine_experts())(keras.KerasTensor((None, 2)), keras.KerasTensor((None, 2)))
    x = keras.Input((2,))
    two = keras.Model(x, [keras.layers.Dense(3)(x), keras.layers.Dense(3)(x)], name="two")
    with pytest.raises(
        ValueError, match=r"each expert must return one tensor\. Received: 'two', which returns a list of 2"
    ):
        ExpertBank([two]).build((None, 2), (None, 1))
    with pytest.raises(ValueError, match="output shapes must be equal"):
        ExpertBank([keras.layers.Dense(2), keras.layers.Dense(3)])(*tensors(X, np.ones((4, 2))))
    with pytest.raises(ValueError, match="at least one layer"):
        ExpertBank([])
