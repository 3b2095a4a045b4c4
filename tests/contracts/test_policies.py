"""Every layer and model computes in the dtype that it is given."""

import keras
import numpy as np
import pytest
from descriptors import arrays, call, each, numpy


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
