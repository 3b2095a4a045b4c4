"""Files that pretend to be weights. Each must end in a ValueError that names the file, and never in a crash."""

import io
import json
import pickle
import zipfile

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_moe.weights import load_weights, read_tensors, write_tensors


def file(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def tensor(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def numpy_file(save):
    stream = io.BytesIO()
    save(stream, np.array([{}], object))
    return stream.getvalue()


def archive():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archived:
        archived.writestr("config.json", "{}")
    return stream.getvalue()


TWICE = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
WORD = bytes(4)
MALFORMED = {
    "empty": b"",
    "shorter than a length": b"\1\0",
    "length alone": file(b""),
    "length of the whole memory": (2**63).to_bytes(8, "little") + b"{}",
    "length of 100 GB": (10**11).to_bytes(8, "little") + b"{}",
    "length past the end": (3).to_bytes(8, "little") + b"{}",
    "no JSON": file(b"nonsense"),
    "no text": file(b'{"\xff":{}}'),
    "a list": file([]),
    "nested lists": file(b"[" * 100_000),
    "nested tables": file(b'{"a":' * 100_000),
    "metadata that are no text": file({"__metadata__": {"a": 1}}),
    "overlapping tensors": file({"a": tensor(), "b": tensor()}, WORD),
    "partly overlapping tensors": file({"a": tensor(), "b": tensor(offsets=(2, 6))}, bytes(6)),
    "a hole": file({"a": tensor(offsets=(4, 8))}, bytes(8)),
    "bytes that belong to nothing": file({"a": tensor()}, bytes(8)),
    "offsets past the end": file({"a": tensor(offsets=(0, 8), shape=(2,))}, WORD),
    "offsets backwards": file({"a": tensor(offsets=(4, 0))}, WORD),
    "negative offsets": file({"a": tensor(offsets=(-4, 0))}, WORD),
    "negative size": file({"a": tensor(shape=(-1,))}, WORD),
    "fractional size": file({"a": tensor(shape=(1.0,))}, WORD),
    "size that overflows": file({"a": tensor(shape=(2**32, 2**32))}, WORD),
    "nothing, of a huge shape": file({"a": tensor(shape=(0, 2**62), offsets=(0, 0))}),
    "nothing, of a shape past int64": file({"a": tensor(shape=(0, 2**64 - 1), offsets=(0, 0))}),
    "too many axes": file({"a": tensor(shape=(1,) * 100)}, WORD),
    "a type that is a lie": file({"a": tensor("F64")}, WORD),
    "a type that is unknown": file({"a": tensor("F31")}, WORD),
    "a name twice": file(TWICE, WORD),
    "a pickle": pickle.dumps({"a": 1}),
    "an object array": numpy_file(np.save),
    "an archive of object arrays": numpy_file(np.savez),
    "a .keras archive": archive(),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(64),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed(kind, tmp_path):
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(MALFORMED[kind])
    with pytest.raises(ValueError, match=r"hostile.safetensors is not a safetensors file \("):
        read_tensors(path)
    with pytest.raises(ValueError, match="the given bytes is not a safetensors file"):
        read_tensors(MALFORMED[kind])


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F8_E5M2"])
def test_types_that_numpy_does_not_have(dtype):
    size = 2 if dtype == "BF16" else 1
    data = file({"a": tensor(dtype, (4 // size,))}, WORD)
    with pytest.raises(ValueError, match=f"x holds a tensor of type '{dtype}'. Expected F16, F32"):
        read_tensors(data, label="x")


class Model:
    """As much of a model as ``load_weights`` asks for."""

    name = "model"

    def __init__(self):
        self.weights = [keras.Variable(np.ones(2, "float32"), name="a")]


WRONG_TYPE = "wrong type: a is {}, expected float32"


@pytest.mark.parametrize(
    ("dtype", "numpy", "message"),
    [
        ("I32", "int32", WRONG_TYPE),
        ("U32", "uint32", WRONG_TYPE),
        ("C64", "complex64", f"{WRONG_TYPE}|is not a safetensors file"),  # to safetensors 0.5
        ("BOOL", "bool", WRONG_TYPE),
    ],
)
def test_numbers_of_another_kind(dtype, numpy, message):
    size = 2 * np.dtype(numpy).itemsize
    model = Model()
    with pytest.raises(ValueError, match=message.format(numpy)):
        load_weights(model, file({"a": tensor(dtype, (2,), (0, size))}, bytes(size)))
    assert model.weights[0].numpy().tolist() == [1.0, 1.0]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "sound.safetensors"
    write_tensors(path, {"a": np.arange(6, dtype="float32").reshape(2, 3), "b/c": np.ones(3, "float16")}, {"k": "v"})
    return path.read_bytes()


def test_a_sound_file(sound):
    assert read_tensors(sound)["a"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def test_every_truncation(sound):
    for length in range(len(sound)):
        with pytest.raises(ValueError, match="is not a safetensors file"):
            read_tensors(sound[:length])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutations_give_arrays_or_a_value_error(sound, data):
    mutated = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    try:
        tensors = read_tensors(bytes(mutated))
    except ValueError:
        return
    assert all(isinstance(array, np.ndarray) for array in tensors.values())
