"""In training each expert sees its own rows, on every backend: gradients, statistics, and what runs."""

import keras
import numpy as np
import pytest
from hand_made import affine_experts, conv_experts, tensors
from keras import ops

from keras_moe.layers import ExpertBank
from keras_moe.layers.dispatch import dispatch

N, K, MAP = 24, 3, (3, 3, 4)
JAX = keras.backend.backend() == "jax"


def batch(top_k):
    """Features and routing weights: the first two experts have uneven shares, the last has no rows."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(N, 6, 6, 2)).astype("float32"), np.zeros((N, K), "float32")
    for row in w:
        row[rng.choice(2, top_k, replace=False, p=[0.8, 0.2])] = rng.random(top_k) + 0.5
    return x, w


def compiled(inputs, outputs, rate):
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(rate), "mse", jit_compile="auto" if JAX else False)
    return model


def copies(experts):
    made = conv_experts(K)
    for copy, expert in zip(made, experts, strict=True):
        copy.set_weights(expert.get_weights())
    return made


def step_alone(experts, k, x, w):
    """The weights of expert ``k`` after a step towards ones on its own rows, where the other experts are constants."""
    parts, rows = np.zeros((K, N, *MAP), "float32"), w != 0
    for j, expert in enumerate(copies(experts)):
        if rows[:, j].any():
            output = ops.convert_to_numpy(expert(x[rows[:, j]], training=True))
            parts[j, rows[:, j]] = output * w[rows[:, j], j].reshape(-1, 1, 1, 1)
    target = 1 - np.delete(parts, k, 0).sum(0)
    own, inputs = rows[:, k], [keras.Input((6, 6, 2)), keras.Input((1, 1, 1))]
    expert = copies(experts)[k]
    # The loss is a mean over rows: over fewer than N it weighs each row more.
    model = compiled(inputs, ops.multiply(expert(inputs[0]), inputs[1]), own.sum() / N)
    model.train_on_batch([x[own], w[own, k].reshape(-1, 1, 1, 1)], target[own])
    return expert.get_weights()


@pytest.mark.parametrize(("top_k", "bound"), [(1, 1), (2, 2), (2, 1), (2, None)])
def test_a_step_is_that_of_each_expert_on_its_own_rows(top_k, bound):
    experts, (x, w) = conv_experts(K), batch(top_k)
    unused = experts[2].get_weights()
    expected = [step_alone(experts, k, x, w) for k in range(2)] + [unused]
    inputs = [keras.Input((6, 6, 2)), keras.Input((K,))]
    model = compiled(inputs, ExpertBank(experts, bound)(*inputs), 1.0)
    model.train_on_batch([x, w], np.ones((N, *MAP), "float32"))
    for expert, weights in zip(experts, expected, strict=True):
        for found, array in zip(expert.get_weights(), weights, strict=True):
            np.testing.assert_allclose(found, array, atol=1e-5)


@pytest.mark.skipif(not JAX, reason="the other backends know the number of rows")
def test_on_jax_empty_seats_are_few_and_unchosen_experts_do_no_work(monkeypatch):
    import jax

    seen, call = [], keras.layers.Dense.call

    def counted(self, x, *args, **kwargs):
        jax.debug.callback(lambda: seen.append(x.shape[0]))
        return call(self, x, *args, **kwargs)

    experts, w = affine_experts(), np.zeros((40, 3), "float32")
    w[:12, 0], w[12:, 1] = 1, 1
    monkeypatch.setattr(keras.layers.Dense, "call", counted)
    run = jax.jit(lambda x, w: dispatch(experts, x, w, training=True, top_k=1))
    run(*tensors(np.ones((40, 2)), w)).block_until_ready()
    jax.effects_barrier()
    assert seen == [8] * 6  # 12 rows in two tiles, 28 in four


@pytest.mark.skipif(not JAX, reason="how JAX trains")
def test_on_jax_experts_that_differ_or_hold_what_is_unknown_compute_the_whole_batch():
    from keras_moe.layers.dispatch.tiled import can_tile

    x = ops.ones((2, 2))

    class Own(keras.layers.Layer):
        def call(self, x):
            return x - ops.mean(x, axis=0)

    def pair(*options):
        return [keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, **each)]) for each in options]

    assert can_tile(conv_experts(), x)
    assert can_tile(pair({}, {}), x)
    assert not can_tile(pair({}, {"activation": "relu"}), x)
    assert not can_tile(pair(*2 * [{"activity_regularizer": "l2"}]), x)
    assert not can_tile([Own(), Own()], x)
    norm = keras.layers.BatchNormalization
    assert not can_tile([keras.Sequential([keras.Input((4, 4, 2)), norm(axis=1)]) for _ in range(2)], x)


@pytest.mark.skipif(not JAX, reason="a convolution for JAX")
@pytest.mark.parametrize(
    ("kernel", "strides", "dilation"), [((3, 3), 1, 1), ((3, 1), 2, 1), ((2, 5), (3, 1), 1), (3, 1, 2)]
)
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_gradient_of_a_convolution_is_that_of_jax(kernel, strides, dilation, padding):
    import jax

    from keras_moe.layers.dispatch.tiled import _convolve

    layer = keras.layers.Conv2D(4, kernel, strides, padding, dilation_rate=dilation, activation="tanh")
    layer.build((None, 9, 8, 2))
    x = np.random.default_rng(0).normal(size=(3, 9, 8, 2)).astype("float32")

    def total(run):
        def of(values, x):
            with keras.StatelessScope(list(zip(layer.weights, values, strict=True))):
                return ops.sum(run(x) ** 2)

        return jax.jit(jax.value_and_grad(of, (0, 1)))([v.value for v in layer.weights], x)

    expected, found = total(layer), total(lambda x: _convolve(layer, x))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
