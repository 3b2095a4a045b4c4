"""What a Keras user expects of any layer and model, over the one list of them."""

import json

import keras
import numpy as np
import pytest
from descriptors import arrays, call, each, each_model, numpy, output, run, shared, symbolic
from keras import ops

from keras_moe.training.stages import jit_compile


@pytest.mark.once
@each
def test_number_of_weights(d):
    layer = shared(d)
    call(layer, d, arrays(d))
    assert len(layer.weights) == d.weights
    assert len({w.path for w in layer.weights}) == d.weights


@pytest.mark.once
@each
def test_config_round_trip(d):
    layer, expected = shared(d), output(d)
    config = json.dumps(keras.saving.serialize_keras_object(layer))
    again = keras.saving.deserialize_keras_object(json.loads(config))
    assert json.dumps(keras.saving.serialize_keras_object(again)) == config
    call(again, d, arrays(d))
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(numpy(call(again, d, arrays(d))), expected)


@each
def test_symbolic_call_tells_shape_and_dtype(d):
    layer = shared(d)
    spec = layer(*symbolic(d))
    y = call(layer, d, arrays(d))
    assert spec.shape[0] is None
    assert tuple(spec.shape[1:]) == tuple(y.shape[1:])
    assert keras.backend.standardize_dtype(spec.dtype) == keras.backend.standardize_dtype(y.dtype)


@each
@pytest.mark.parametrize("policy", ["float16", "mixed_bfloat16", "float64"])
def test_dtype_policy(d, policy):
    if policy == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless it is switched on")
    layer = d.create(dtype=policy)
    y = call(layer, d, arrays(d))
    is_model = isinstance(layer, keras.Model)
    assert keras.backend.standardize_dtype(y.dtype) == ("float32" if is_model else layer.compute_dtype)
    assert np.isfinite(numpy(y)).all()
    assert keras.config.dtype_policy().name == "float32"


@each_model
def test_keras_file_round_trip(d, tmp_path):
    model, (x,) = shared(d), arrays(d, 32)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again) is type(model)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.once
@each_model
@pytest.mark.parametrize("suffix", ["weights.h5", "safetensors"])
def test_weights_round_trip(d, suffix, tmp_path):
    from keras_moe.weights import load_weights, save_weights

    model, again, path = shared(d), d.create(), tmp_path / f"model.{suffix}"
    if suffix == "safetensors":
        save_weights(model, path)
        load_weights(again, path)
    else:
        model.save_weights(path)
        again.load_weights(path)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@each_model
@pytest.mark.parametrize("n", [1, 33])
def test_call_predict_and_batches_agree(d, n):
    model, (x,) = shared(d), arrays(d, n)
    # JAX compiles each operation of an eager call, for each size of a batch: there one image is enough.
    eager = numpy(model(ops.convert_to_tensor(x)) if n == 1 else call(model, d, [x]))
    np.testing.assert_allclose(model.predict(x, verbose=0), eager, atol=1e-5)
    np.testing.assert_allclose(model.predict(x, batch_size=1, verbose=0), eager, atol=1e-5)


@each_model
def test_fits_and_every_trainable_part_moves(d):
    model = d.create()
    before = [w.numpy().copy() for w in model.trainable_weights]
    # One-hot: Keras' sparse loss has no gradient through probabilities per pixel on PyTorch.
    optimizer = keras.optimizers.SGD(0.01)
    optimizer.build(model.trainable_variables)  # else TensorFlow traces the step twice
    model.compile(optimizer, "categorical_crossentropy", jit_compile=jit_compile())
    rng = np.random.default_rng(1)
    *sizes, classes = model.output_shape[1:]
    x, y = rng.random((64, 8, 8, 3)) * 255, np.eye(classes)[rng.integers(0, classes, (64, *sizes))]
    model.fit(x, y, batch_size=32, epochs=2, verbose=0)
    # Of what is trained: BatchNorm's statistics move without any gradient.
    moved = {w.path for w, b in zip(model.trainable_weights, before, strict=True) if not np.array_equal(w, b)}
    assert d.learns
    assert all(any(path.startswith(part) for path in moved) for part in d.learns)


@each_model
def test_any_input_size_and_headless(d):
    if d.headless is None:
        pytest.skip("no head to leave out")
    if not d.headless:
        with pytest.raises(ValueError, match=r"head|logits"):
            d.create(include_top=False)
        return
    model = d.create(input_shape=(None, None, 3), include_top=False)
    for size in (8, 13):
        assert len(run(model, np.zeros((2, size, size, 3), "float32")).shape) == 4
    pooled = d.create(include_top=False, pooling="avg")
    assert len(pooled.output_shape) == 2
