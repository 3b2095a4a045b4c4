"""A function called in a process that runs TensorFlow: what goes there, what comes back."""

import keras
import numpy as np
import pytest

from keras_moe.export import tensorflow_process

pytest.importorskip("tensorflow", reason="the process runs TensorFlow")
pytestmark = pytest.mark.once


class OddError(ValueError):
    pass


def doubled(model, images):
    """Runs in the process."""
    tensorflow_process.send(backend=keras.backend.backend())
    print("not a message")
    model.set_weights([2 * w for w in model.get_weights()])
    return {"sums": [int(images.sum()), images], "none": None} | {"type": type(images).__name__}


def network():
    x = keras.Input((2,))
    return keras.Model(x, keras.layers.Dense(1, name="out")(x))


def test_a_function_is_called_there_and_its_result_weights_and_messages_come_back():
    model, messages = network(), []
    before = model.get_weights()
    images = np.arange(3, dtype="uint8")
    result = tensorflow_process.run(
        f"{__name__}:doubled", model, {"images": images}, on_message=messages.append, trains=True
    )
    assert messages == [{"backend": "tensorflow"}]
    assert result["none"] is None
    np.testing.assert_array_equal(result["sums"][1], images)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, 2 * theirs)


def test_a_process_that_dies_says_what_it_said(monkeypatch):
    monkeypatch.setattr(tensorflow_process, "_START", ("-c", "raise SystemExit('out of memory')"))
    with pytest.raises(RuntimeError, match=r"process of os:abort ended with code 1. It said:\nout of memory"):
        tensorflow_process.run("os:abort", network(), {})


def test_what_is_raised_there_is_raised_here():
    error = {"error": "too far", "kind": "OddError"}
    with pytest.raises(OddError, match="too far"):
        tensorflow_process._returned(error, (OddError,))
    with pytest.raises(ValueError, match="too far") as raised:
        tensorflow_process._returned(error, ())
    assert raised.type is ValueError
    assert tensorflow_process._returned({"returned": [3]}, ()) == [3]


def test_arrays_travel_beside_json(tmp_path):
    values = {"a": [np.arange(3), {"b": np.float32([[1.5]])}], "c": (1, "two", None), "d": {}}
    tensorflow_process._write(tmp_path, "job", values)
    assert "1.5" not in (tmp_path / "job.json").read_text()
    found = tensorflow_process._read(tmp_path, "job")
    np.testing.assert_array_equal(found["a"][0], [0, 1, 2])
    assert (found["a"][0].dtype, found["a"][1]["b"].dtype) == (np.dtype("int64"), np.dtype("float32"))
    assert (found["c"], found["d"]) == ([1, "two", None], {})
