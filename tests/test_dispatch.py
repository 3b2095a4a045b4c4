"""All dispatchers compute the same sum, and only the chosen experts work."""

import contextlib
import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_moe.layers import ExpertBank, inference_only
from keras_moe.layers.dispatch import dense, dispatch, gathered, guarded
from keras_moe.models.base import RoutedModel

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

# Expert k maps x to (k + 1) x + k.
X = [[1, 2], [3, 4], [5, 6], [7, 8]]
W = [[1, 0, 0], [0, 0.5, 0.5], [0, 0, 0], [0.25, 0, 0.75]]
Y = [[1, 2], [9, 11.5], [0, 0], [19, 21.5]]


def affine_experts(count=3):
    experts = []
    for k in range(count):
        expert = keras.layers.Dense(2)
        expert.build((None, 2))
        expert.set_weights([np.eye(2) * (k + 1), np.full(2, k)])
        experts.append(expert)
    return experts


def conv_experts(count=3, size=6):
    def expert(k):
        inputs = keras.Input((size, size, 2))
        x = keras.layers.Conv2D(4, 3, 2, "same", name=f"conv_{k}")(inputs)
        x = keras.layers.BatchNormalization(name=f"bn_{k}")(x)
        return keras.Model(inputs, keras.layers.ReLU()(x))

    return [expert(k) for k in range(count)]


def tensors(*arrays):
    return [ops.convert_to_tensor(np.asarray(a, "float32")) for a in arrays]


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
    """The bank calls an expert only for the rows that chose it: counted in rows, on the live path of each backend."""
    seen = {0: 0, 1: 0, 2: 0}

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
    assert seen == {0: 12, 1: 30 if JAX else 28, 2: 0}  # on JAX a tile of 10 and two rows; a tile of 30 with two spare


def _record(seen, k, x):
    if not JAX:
        seen[k] += int(x.shape[0])
        return
    import jax

    jax.debug.callback(lambda: seen.__setitem__(k, seen[k] + x.shape[0]))


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
    if backend != "jax":  # where training runs every expert
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


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's traces")
def test_traced_experts_follow_their_weights_and_fall_back():
    import torch

    from keras_moe.layers.dispatch.torch import Traced

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
        for n in (2, 3):
            np.testing.assert_array_equal(traced(torch.ones(n, 2)), np.full((n, 2), n))


@pytest.mark.skipif(not TENSORFLOW, reason="TensorFlow's functions")
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


@pytest.mark.skipif(not TENSORFLOW, reason="TensorFlow's functions")
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


@pytest.mark.skipif(not TENSORFLOW, reason="TensorFlow's functions")
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


@pytest.mark.skipif(not TENSORFLOW, reason="TensorFlow's functions")
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


def test_wrong_weights_are_refused():
    with pytest.raises(ValueError, match=r"one column per expert.*\(None, 2\)"):
        ExpertBank(affine_experts())(keras.KerasTensor((None, 2)), keras.KerasTensor((None, 2)))
    with pytest.raises(ValueError, match="output shapes must be equal"):
        ExpertBank([keras.layers.Dense(2), keras.layers.Dense(3)])(*tensors(X, np.ones((4, 2))))
    with pytest.raises(ValueError, match="at least one layer"):
        ExpertBank([])
