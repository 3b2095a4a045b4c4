"""Every layer and model computes alike however it is called, and tells the shape and dtype of its output."""

import keras
import numpy as np
import pytest
from descriptors import MODELS, arrays, call, each, each_model, numpy, run, shared, symbolic
from keras import ops


@each
def test_symbolic_call_tells_shape_and_dtype(d):
    layer = shared(d)
    spec = layer(*symbolic(d))
    y = call(layer, d, arrays(d))
    assert spec.shape[0] is None
    assert tuple(spec.shape[1:]) == tuple(y.shape[1:])
    assert keras.backend.standardize_dtype(spec.dtype) == keras.backend.standardize_dtype(y.dtype)


@each_model
@pytest.mark.parametrize("n", [1, 33])
def test_call_predict_and_batches_agree(d, n):
    model, (x,) = shared(d), arrays(d, n)
    # JAX compiles each operation of an eager call, for each size of a batch: there one image is enough.
    eager = numpy(model(ops.convert_to_tensor(x)) if n == 1 else call(model, d, [x]))
    np.testing.assert_allclose(model.predict(x, verbose=0), eager, atol=1e-5)
    np.testing.assert_allclose(model.predict(x, batch_size=1, verbose=0), eager, atol=1e-5)


@pytest.mark.once  # on the other backends: test_changes.py, for one mixture
@each_model
def test_routed_predictions_are_the_predictions(d):
    """In one batch and in several, which take other ways."""
    model, (x,) = shared(d), arrays(d, 5)
    expected = model.predict(x, verbose=0)
    for batch_size in (5, 2):
        np.testing.assert_allclose(model.predict_routed(x, batch_size)[0], expected, atol=1e-5)


def test_arrays_of_the_other_byte_order():
    d = next(d for d in MODELS if d.name == "single_gated_top2")
    model, (x,) = shared(d), arrays(d, 5)
    expected, foreign = model.predict(x, verbose=0), x.astype(x.dtype.newbyteorder())
    for batch_size in (5, 2):
        np.testing.assert_allclose(model.predict(foreign, batch_size, verbose=0), expected, atol=1e-5)
        np.testing.assert_allclose(model.predict_routed(foreign, batch_size)[0], expected, atol=1e-5)
    np.testing.assert_allclose(numpy(model(foreign)), expected, atol=1e-5)


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
