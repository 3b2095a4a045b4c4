"""All dispatchers compute the same sum, and only the chosen experts work."""

import functools
import gc
import pathlib
import re

import keras
import numpy as np
import pytest
from hand_made import W, X, Y, affine_experts, conv_experts, tensors
from keras import ops

from keras_moe.layers import ExpertBank, inference_only
from keras_moe.layers.dispatch import dense, dispatch, gathered, guarded

STATUS = pathlib.Path("/proc/self/status")
DISPATCHERS = {"dense": dense, "guarded": guarded, "dispatch": dispatch}
JAX = keras.backend.backend() == "jax"
if JAX:
    from keras_moe.layers.dispatch.jax import looped

    DISPATCHERS["looped"] = looped
else:
    DISPATCHERS["gathered"] = gathered
TENSORFLOW = keras.backend.backend() == "tensorflow"
if TENSORFLOW:
    import tensorflow as tf

    from keras_moe.layers.dispatch.tensorflow import can_swap, swapped

    def in_a_function(experts, x, w):
        with inference_only():
            return function(tuple(experts), *(tf.TensorSpec((None, *t.shape[1:])) for t in (x, w)))(x, w)

    @functools.cache
    def function(experts, *signature):
        def run(x, w):
            assert can_swap(experts)
            return swapped(experts, x, w)

        return tf.function(run, input_signature=signature)

    DISPATCHERS["swapped"] = in_a_function


def run(dispatcher, experts, x, w):
    return ops.convert_to_numpy(dispatcher(experts, *tensors(x, w)))


@pytest.mark.parametrize("name", DISPATCHERS)
def test_hand_computed(name):
    np.testing.assert_allclose(run(DISPATCHERS[name], affine_experts(), X, W), Y, atol=1e-6)


@pytest.fixture(scope="module")
def convolutions():
    """Experts that tests leave as they are."""
    return conv_experts()


@pytest.mark.parametrize("name", DISPATCHERS)
@pytest.mark.parametrize("n", [1, 2, 7, 41, 100])
@pytest.mark.parametrize("case", ["top1", "top2", "all", "one expert", "nobody"])
def test_equals_dense(name, n, case, convolutions):
    rng = np.random.default_rng(n)
    x, w = rng.normal(size=(n, 6, 6, 2)), np.zeros((n, 3))
    if case == "one expert":
        w[:, 1] = 1
    elif case != "nobody":
        for row in w:
            chosen = rng.choice(3, {"top1": 1, "top2": 2, "all": 3}[case], replace=False)
            row[chosen] = rng.random(len(chosen)) + 0.1
    expected = run(dense, convolutions, x, w)
    np.testing.assert_allclose(run(DISPATCHERS[name], convolutions, x, w), expected, atol=1e-5)
    if case == "nobody":
        assert not expected.any()


@pytest.mark.parametrize("name", [n for n in DISPATCHERS if n != "dense"])
def test_empty_batch(name):
    assert run(DISPATCHERS[name], conv_experts(), np.zeros((0, 6, 6, 2)), np.zeros((0, 3))).shape == (0, 3, 3, 4)


@pytest.mark.parametrize("name", DISPATCHERS)
def test_nan_weights_poison_their_row_only(name):
    w = np.array(W)
    w[1] = np.nan
    y = run(DISPATCHERS[name], affine_experts(), X, w)
    assert np.isnan(y[1]).all()
    np.testing.assert_allclose(np.delete(y, 1, 0), np.delete(Y, 1, 0), atol=1e-6)


@pytest.mark.parametrize("name", DISPATCHERS)
@pytest.mark.parametrize(
    ("weights", "expected"),
    [([np.nan] * 3, [np.nan, np.nan]), ([0.25, 0, -0.5], [0.25 - 2.5, 0.5 - 4]), ([0, 0, 0], [0, 0])],
)
def test_a_batch_of_one(name, weights, expected):
    """A broken weight is no zero, and a negative one is a weight."""
    np.testing.assert_allclose(run(DISPATCHERS[name], affine_experts(), X[:1], [weights]), [expected], atol=1e-6)


def test_a_broken_image_stays_in_its_row():
    x = np.array(X, "float32")
    x[0] = np.nan
    y = run(dispatch, affine_experts(), x, W)
    assert np.isnan(y[0]).all()
    np.testing.assert_allclose(y[1:], Y[1:], atol=1e-6)


def test_unchosen_experts_do_no_work():
    """The bank calls an expert only for the rows that chose it: the rows of each call, on the live path of the backend.

    An empty batch is no call either: it would make a BatchNorm's statistics NaN in training.
    """
    seen = {0: [], 1: [], 2: []}

    class Counting(keras.layers.Layer):
        def __init__(self, k):
            super().__init__()
            self.k = k
            self.supports_jit = False

        def call(self, x):
            _record(seen, self.k, x)
            return x

        def compute_output_shape(self, input_shape):
            return input_shape

    bank = ExpertBank([Counting(k) for k in range(3)])
    w = np.zeros((40, 3), "float32")
    w[:12, 0] = 1
    w[12:, 1] = 1
    ops.convert_to_numpy(bank(*tensors(np.ones((40, 2)), w)))
    # On JAX a tile of 10 and two rows; a tile of 30 with two spare.
    assert {k: sorted(rows) for k, rows in seen.items()} == {
        0: [1, 1, 10] if JAX else [12],
        1: [30] if JAX else [28],
        2: [],
    }


def _record(seen, k, x):
    if not JAX:
        seen[k].append(int(x.shape[0]))
        return
    import jax

    jax.debug.callback(lambda: seen[k].append(x.shape[0]))


@pytest.mark.parametrize("training", [False, True])
def test_gradients_flow_to_features_and_weights(training, backend):
    """d(sum y)/dw[n, k] = sum expert_k(x[n]) for chosen pairs; checked by hand for the row (0, .5, .5)."""
    if backend == "jax" and not training:
        pytest.skip("documented: the inference loop on JAX has no reverse-mode gradient")
    experts = affine_experts()

    def total(x, w):
        return ops.sum(dispatch(experts, x, w, training=training))

    dx, dw = _gradients(total, *tensors(X, W))
    np.testing.assert_allclose(dx[1], [0.5 * 2 + 0.5 * 3] * 2, atol=1e-5)
    np.testing.assert_allclose(dw[1, 1:], [7 + 9, 11 + 14], atol=1e-5)
    np.testing.assert_allclose(dx[2], [0, 0], atol=1e-6)
    assert _gradients(total, *tensors(X[1:2], W[1:2]))[1].tolist() == [[0, 7 + 9, 11 + 14]]


def _gradients(f, x, w):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = f(x, w)
        return [tf.convert_to_tensor(g).numpy() for g in tape.gradient(y, [x, w])]
    if keras.backend.backend() == "jax":
        import jax

        return [np.asarray(g) for g in jax.grad(f, (0, 1))(x, w)]
    x, w = x.requires_grad_(), w.requires_grad_()
    f(x, w).backward()
    return [x.grad.numpy(), w.grad.numpy()]


def test_inside_jit():
    bank = ExpertBank(affine_experts())
    bank(*tensors(X, W))
    x, w = tensors(X, W)
    np.testing.assert_allclose(ops.convert_to_numpy(_jit(bank)(x, w)), Y, atol=1e-6)


def _jit(f):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda x, w: f(x, w))
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(lambda x, w: f(x, w))
    return f  # PyTorch runs eagerly


on_torch = pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's traces")


@pytest.fixture
def at_once(monkeypatch):
    """Traces at the first call instead of after a few."""
    from keras_moe.layers import torch_traces

    monkeypatch.setattr(torch_traces, "_CALLS", 1)


@on_torch
def test_traced_experts_follow_their_weights_and_fall_back(at_once):
    import torch

    from keras_moe.layers.torch_traces import Traced

    class Rows(keras.layers.Layer):
        """Not traceable: the number of rows would be frozen into the trace."""

        def call(self, x):
            return x * int(x.shape[0])

    bank, traced = ExpertBank(conv_experts()), Traced(Rows())
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for n in (1, 5, 40):
            x, w = tensors(rng.normal(size=(n, 6, 6, 2)), np.eye(3)[rng.integers(0, 3, n)])
            np.testing.assert_allclose(bank(x, w), dense(bank.experts, x, w), atol=1e-5)
        for weight in bank.experts[0].weights:
            weight.assign(weight * 2 + 1)
        np.testing.assert_allclose(bank(x, w), dense(bank.experts, x, w), atol=1e-4)
        for n in (2, 3, 4):
            np.testing.assert_array_equal(traced(torch.ones(n, 2)), np.full((n, 2), n))


@on_torch
def test_a_trace_holds_for_any_number_of_rows_of_vectors(at_once):
    """Of their number the shape is made in which the product with a kernel is computed."""
    import torch

    from keras_moe.layers.torch_traces import Trace, Traced

    layer = keras.layers.Dense(2, kernel_initializer="ones")
    layer.build((None, 3, 4))
    traced = Traced(layer)
    with torch.no_grad():
        for n in (1, 2, 7):
            np.testing.assert_array_equal(traced(torch.ones(n, 3, 4)), np.full((n, 3, 2), 4))
    assert [type(trace) for trace in traced.traces(layer).values()] == [Trace]


@on_torch
@pytest.mark.skipif(not STATUS.exists(), reason="memory is read from /proc")
def test_traces_go_with_their_experts(at_once):
    import torch

    from keras_moe.layers.torch_traces import Traced

    def grown(times):
        before = resident()
        with torch.no_grad():
            for _ in range(times):
                Traced(expert)(torch.ones(2, 6, 6, 2))
        gc.collect()
        return resident() - before

    expert = conv_experts()[0]
    grown(20)
    assert grown(100) < 10e6, "bytes of what nobody can call any more"


def resident():
    return 1024 * int(re.search(r"VmRSS:\s+(\d+) kB", STATUS.read_text())[1])
