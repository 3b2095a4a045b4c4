"""Tensors of a PyTorch weights file, read without PyTorch and without running anything that the file names.

The format is the one PyTorch wrote before version 1.6: five pickles (a magic number, the protocol, the machine, the
tensors by name with references to their storages, the keys of the storages), then each storage's numbers. Unpickling
can call what a file names; here it knows five names, all inert, and refuses any other.
"""

import collections
import collections.abc
import dataclasses
import io
import pickle
import typing

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


@dataclasses.dataclass
class _Storage:
    """Numbers that several tensors may look at; ``data`` is read after the pickles."""

    dtype: str
    size: int
    data: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))


@dataclasses.dataclass(frozen=True)
class _View:
    """A tensor: a storage, where it starts there, its shape and its strides, in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if min(self.offset, *self.shape, *self.strides, 0) < 0 or last >= self.storage.size:
            raise ValueError(f"a tensor of shape {self.shape} lies outside its storage")
        start = self.storage.data[self.offset :]
        steps = [step * start.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(start, self.shape, steps, writeable=False)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: typing.BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> typing.Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _view
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no part of a tensor")

    def persistent_load(self, identity: tuple[str, str, str, str, int, typing.Any]) -> _Storage:
        kind, dtype, key, _, size, _ = identity
        if kind != "storage" or dtype not in _STORAGES.values():
            raise pickle.UnpicklingError(f"it refers to {kind!r}, not to a storage of numbers")
        return self.storages.setdefault(key, _Storage(dtype, size))


def _view(
    storage: _Storage,
    offset: int,
    shape: collections.abc.Iterable[int],
    strides: collections.abc.Iterable[int],
    *_: object,
) -> _View:
    return _View(storage, offset, tuple(shape), tuple(strides))


def read_torch_file(data: bytes, label: str = "the given bytes") -> dict[str, np.ndarray]:
    """Name -> array of a file that ``torch.save(model.state_dict(), …)`` wrote before PyTorch 1.6.

    Args:
        data: bytes, the file's content.
        label: str, what errors call it.

    Raises:
        ValueError: another format, or a file that is cut off, altered, or holds anything but tensors.
    """
    try:
        return _read(io.BytesIO(data))
    except Exception as error:  # unpickling a damaged file raises nearly anything
        raise ValueError(f"{label} is not a file of PyTorch weights, of the format before 1.6: {error}") from error


def _read(file: typing.BinaryIO) -> dict[str, np.ndarray]:
    if _Unpickler(file).load() != _MAGIC:
        raise ValueError("it does not begin with that format's number")
    _Unpickler(file).load(), _Unpickler(file).load()  # the protocol; the machine it was written on
    unpickler = _Unpickler(file)
    views = unpickler.load()
    for key in _Unpickler(file).load():
        storage = unpickler.storages[key]
        size = int.from_bytes(file.read(8), "little")
        if size != storage.size:
            raise ValueError(f"storage {key!r} has {size} numbers, expected {storage.size}")
        numbers = file.read(size * np.dtype(storage.dtype).itemsize)
        storage.data = np.frombuffer(numbers, storage.dtype, size)
    return {name: view.array() for name, view in views.items()}
