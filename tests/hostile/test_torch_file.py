"""PyTorch files of strangers: nothing in them runs, and what is damaged is refused."""

import collections
import io
import os
import pickle
import struct

import numpy as np
import pytest

from keras_moe.torch_file import read_torch_file

MAGIC = 0x1950A86A20F9469CFC6C


class Named:
    """Pickled as a call of ``module.name``: what a file of tensors, or of an attacker, holds."""

    def __init__(self, module, name, *arguments):
        self.module, self.name, self.arguments = module, name, arguments


class Pickler(pickle._Pickler):
    """Writes names that need not be importable here."""

    def save(self, thing, save_persistent_id=True):
        if isinstance(thing, Named):
            self.write(f"c{thing.module}\n{thing.name}\n".encode())
            if thing.arguments:
                super().save(thing.arguments)
                self.write(pickle.REDUCE)
        elif isinstance(thing, Persistent):
            super().save(thing.identity)
            self.write(pickle.BINPERSID)
        else:
            super().save(thing, save_persistent_id)


class Persistent:
    def __init__(self, *identity):
        self.identity = identity


def pickled(thing):
    file = io.BytesIO()
    Pickler(file, 2).dump(thing)
    return file.getvalue()


def torch_file(shape=(2, 3), strides=(3, 1), offset=1, numbers=7, size=7, keys=("0",), tensors=None):
    """A file of one tensor ``a``, whose storage holds 0, 1, 2, …"""
    storage = Persistent("storage", Named("torch", "FloatStorage"), "0", "cpu", size, None)
    tensor = Named("torch._utils", "_rebuild_tensor_v2", storage, offset, shape, strides, False, {})
    content = collections.OrderedDict(a=tensor) if tensors is None else tensors
    heads = b"".join(map(pickled, (MAGIC, 1001, {}, content, list(keys))))
    return heads + struct.pack("<q", numbers) + np.arange(numbers, dtype="<f4").tobytes()


def test_a_tensor_is_read_by_its_strides():
    np.testing.assert_array_equal(read_torch_file(torch_file())["a"], [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(read_torch_file(torch_file(strides=(1, 2)))["a"], [[1, 3, 5], [2, 4, 6]])


@pytest.mark.parametrize("module_and_name", [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("keras", "x")])
def test_nothing_that_a_file_names_is_called(module_and_name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = Named(*module_and_name, "open('ran', 'w')" if module_and_name[1] == "eval" else "touch ran")
    with pytest.raises(ValueError, match=rf"names {module_and_name[0]}\.{module_and_name[1]}"):
        read_torch_file(torch_file(tensors=collections.OrderedDict(a=ran)))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offset": 2}, "outside its storage"),
        ({"offset": -1}, "outside its storage"),
        ({"strides": (-3, 1)}, "outside its storage"),
        ({"strides": (300, 1)}, "outside its storage"),
        ({"shape": (2, 3, 1)}, "not a file of PyTorch weights"),
        ({"size": 6}, "has 7 numbers, expected 6"),
        ({"keys": ("1",)}, "not a file of PyTorch weights"),
        ({"tensors": [1, 2]}, "not a file of PyTorch weights"),
        ({"tensors": {"a": 3}}, "not a file of PyTorch weights"),
    ],
)
def test_tensors_that_do_not_fit_their_storage_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        read_torch_file(torch_file(**change))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80", b"<html></html>", pickled(1), bytes(range(64))])
def test_other_files_are_refused(data):
    with pytest.raises(ValueError, match="not a file of PyTorch weights"):
        read_torch_file(data)


def test_every_truncation_is_refused():
    whole = torch_file()
    for length in range(len(whole)):
        with pytest.raises(ValueError, match="not a file of PyTorch weights"):
            read_torch_file(whole[:length])
