"""Every layer and model comes back from its configuration, its file and its weights."""

import json

import keras
import numpy as np
import pytest
from descriptors import arrays, call, each, each_model, numpy, output, shared


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
