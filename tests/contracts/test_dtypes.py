"""Models in every dtype: all verbs work, predictions stay near those of float32, routes are the same."""

import functools

import keras
import numpy as np
import pytest
from descriptors import MODELS, shared, tiny_classifier

from keras_moe import models, zoo
from keras_moe.training import Stage, run_stages
from keras_moe.training.stages import jit_compile
from keras_moe.weights import load_weights, save_weights

JAX = keras.backend.backend() == "jax"
# How far a prediction or a logit of the gate may be from that of float32, in parts of the largest, as the README says.
BOUNDS = {
    "float16": 0.01, "mixed_float16": 0.005, "bfloat16": 0.05, "mixed_bfloat16": 0.05, "float64": 1e-5,
}  # fmt: skip
BY_NAME = {d.name: d for d in MODELS}


def images(n=7, shape=(8, 8, 3)):
    return np.random.default_rng(0).uniform(0, 255, (n, *shape)).astype("float32")


def same_in(dtype, reference, create):
    """A model in ``dtype`` with the weights of ``reference``."""
    model = create(dtype=dtype)
    model.set_weights(reference.get_weights())
    return model


def assert_near(found, expected, dtype):
    assert np.asarray(found).dtype == "float32"
    np.testing.assert_allclose(found, expected, atol=BOUNDS[dtype] * np.abs(expected).max(), rtol=0)


slow = pytest.mark.slow
QUICK = [("single_gated_top2", "mixed_float16"), ("segmentation_sparse", "mixed_float16"), ("upcycled", "bfloat16")]
CASES = [(d.name, "mixed_float16") for d in MODELS] + [("upcycled", dtype) for dtype in BOUNDS]
CASES = [
    pytest.param(name, dtype, marks=[pytest.mark.xdist_group(name), *([] if (name, dtype) in QUICK else [slow])])
    for name, dtype in dict.fromkeys(CASES)
]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_every_verb(name, dtype):
    if JAX and dtype == "float64":
        pytest.skip("JAX has no float64 unless it is switched on")
    reference, x = shared(BY_NAME[name]), images()
    model = same_in(dtype, reference, BY_NAME[name].create)
    expected, route = reference.predict_routed(x)
    found, found_route = model.predict_routed(x)
    assert_near(found, expected, dtype)
    if route is not None:
        np.testing.assert_array_equal(found_route != 0, route != 0)
    assert_near(model.predict(x, batch_size=3, verbose=0), expected, dtype)  # batches of 3, 3 and 1

    model.compile(keras.optimizers.SGD(1e-6), "mse", jit_compile=jit_compile())
    loss = model.evaluate(x, expected, verbose=0)
    assert loss < (BOUNDS[dtype] * np.abs(expected).max()) ** 2
    assert np.isfinite(model.fit(x, expected, batch_size=3, verbose=0).history["loss"]).all()


@pytest.mark.parametrize("dtype", ["mixed_float16", pytest.param("float16", marks=slow), "bfloat16"])
def test_routes_differ_at_near_ties_alone(dtype):
    """Another expert runs only where float32's logits of two are closer than twice the bound."""
    create = functools.partial(BY_NAME["upcycled_hydranet"].create, top_k=1)
    reference = create()
    model = same_in(dtype, reference, create)
    x = images(300) * np.random.default_rng(1).uniform(0, 1, (300, 1, 1, 1)).astype("float32")
    kernel, _ = reference.get_layer("gate").layers[-1].get_weights()
    bias = -np.median(
        reference.model_with_route.predict(x, verbose=0)["gate_logits"], axis=0
    )  # each expert gets about half of them
    for each in (reference, model):
        each.get_layer("gate").layers[-1].set_weights([kernel, bias])
    expected, found = (each.model_with_route.predict(x, verbose=0) for each in (reference, model))
    bound = BOUNDS[dtype] * np.abs(expected["gate_logits"]).max()
    np.testing.assert_allclose(found["gate_logits"], expected["gate_logits"], atol=bound, rtol=0)
    near_tie = np.abs(expected["gate_logits"][:, 0] - expected["gate_logits"][:, 1]) < 2 * bound
    assert 0 < near_tie.sum() < 250
    assert len({tuple(row) for row in expected["routing_weights"][~near_tie]}) == 2
    np.testing.assert_array_equal(found["routing_weights"][~near_tie], expected["routing_weights"][~near_tie])


@pytest.mark.parametrize("dtype", [pytest.param("mixed_float16", marks=slow), "bfloat16"])
def test_files_keep_the_dtype(dtype, tmp_path):
    keras.config.set_dtype_policy(dtype)
    model = BY_NAME["single_gated_top2"].create()
    model.save(tmp_path / "model.keras")
    save_weights(model, tmp_path / "weights.safetensors")
    keras.config.set_dtype_policy("float32")
    again, expected = keras.models.load_model(tmp_path / "model.keras"), model.predict(images(), verbose=0)
    assert again.get_layer("trunk").layers[2].dtype_policy.name == dtype
    np.testing.assert_array_equal(again.predict(images(), verbose=0), expected)
    for weight in again.weights:
        weight.assign(weight * 0)
    load_weights(again, tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(again.predict(images(), verbose=0), expected)


@slow
@pytest.mark.parametrize("name", ["test_hydranet", "test_single_gated", "test_patcher"])
def test_published_weights_in_float16(name):
    reference, model = (zoo.load(name, dtype=dtype) for dtype in ("float32", "float16"))
    x = images(20, reference.input_shape[1:])
    expected, route = reference.predict_routed(x)
    found, found_route = model.predict_routed(x)
    assert_near(found, expected, "float16")
    np.testing.assert_array_equal(found_route != 0, route != 0)


@slow
def test_an_image_is_enlarged_in_float16():
    reference, model = (zoo.load("test_classsr", dtype=dtype) for dtype in ("float32", "mixed_float16"))
    image = images(1, (21, 30, 3))[0].astype("uint8")
    expected, found = (each.upscale_routed(image, patch=16) for each in (reference, model))
    assert np.abs(found.image.astype(int) - expected.image).max() <= 1
    np.testing.assert_array_equal(found.route, expected.route)


def test_losses_are_scaled_in_mixed_float16(tmp_path):
    model = BY_NAME["upcycled"].create(dtype="mixed_float16")
    model.compile("sgd", "mse")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    x, y = images(8), np.arange(8) % 5
    data = _Once(x, {"prediction": y})
    loss = {"prediction": keras.losses.SparseCategoricalCrossentropy()}
    stages = [Stage("gate", ("gate",), 2, lambda: keras.optimizers.SGD(0.1), data, loss)]
    history = run_stages(model, stages, tmp_path, verbose=0)
    assert np.isfinite([logs["loss"] for logs in history["gate"]]).all()
    assert run_stages(model, stages, tmp_path, verbose=0) == history  # from the checkpoint


class _Once(keras.utils.PyDataset):
    """One batch, the same every epoch."""

    def __init__(self, *batch):
        super().__init__()
        self.batch, self.epoch = batch, 0

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.batch


def test_routes_do_not_overflow():
    """Logits beyond 65504, where float16 ends, are numbers like others."""
    model = BY_NAME["upcycled_hydranet"].create(dtype="mixed_float16", top_k=1)
    gate = model.get_layer("gate").layers[-1]
    gate.set_weights([gate.get_weights()[0] * 0, np.array([1e5, 2e5])])
    np.testing.assert_array_equal(model.route(images(3)), [[0, 1]] * 3)
    model = BY_NAME["classsr"].create(dtype="mixed_float16")
    model.cost_weight = 1e6
    np.testing.assert_array_equal(model.route(images(3)), [[1, 0]] * 3)


@pytest.mark.parametrize("system", ["single_gated", "hydranet"])
def test_a_classifier_of_one_s_own_takes_the_dtype(system):
    classifier = tiny_classifier(activation="softmax")
    model = models.upcycle(classifier, num_experts=2, system=system, dtype="mixed_bfloat16")
    expert = model.bank.experts[0]
    assert {layer.compute_dtype for layer in expert.layers if layer.weights} == {"bfloat16"}
    assert {layer.compute_dtype for layer in classifier.layers} == {"float32"}
    assert_near(model.predict(images(), verbose=0), classifier.predict(images(), verbose=0), "bfloat16")


@pytest.mark.skipif(not JAX, reason="JAX alone has no float64 unless it is switched on")
def test_float64_is_refused_on_jax():
    with pytest.raises(ValueError, match="jax_enable_x64"):
        BY_NAME["upcycled"].create(dtype="float64")
    keras.config.set_dtype_policy("float64")
    with pytest.raises(ValueError, match="jax_enable_x64"):
        BY_NAME["unet"].create()
