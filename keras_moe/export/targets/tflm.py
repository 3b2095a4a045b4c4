"""LiteRT for Microcontrollers (``tflite-micro``, extra ``edge``): its interpreter, on this machine."""

import collections.abc
import contextlib
import os
import re
import tempfile
import time
import typing

import numpy as np

from keras_moe.export.border import dequantized, quantized
from keras_moe.export.flatbuffer import tensors
from keras_moe.types import Array

_ROOM = 1 << 26  # bytes of the arena here, of which the system gives what is used


class TFLMGraph:
    """One static graph: float32 arrays in and out, by name; int8 tensors are converted at the border.

    Args:
        data: a LiteRT model, bytes.

    Raises:
        ValueError: the interpreter cannot run it.
    """

    def __init__(self, data: bytes) -> None:
        from tflite_micro.python.tflite_micro import runtime

        borders = tensors(data)
        self._inputs, self._outputs = borders["inputs"], borders["outputs"]
        self.outputs = frozenset(tensor["name"] for tensor in self._outputs)
        with _explained():
            self._interpreter = runtime.Interpreter.from_bytes(data, arena_size=_ROOM)
        self.seconds = 0.0

    def shape(self, name: str) -> tuple[int, ...]:
        return next(tuple(tensor["shape"]) for tensor in self._inputs if tensor["name"] == name)

    def __call__(self, arrays: dict[str, Array]) -> dict[str, Array]:
        for index, tensor in enumerate(self._inputs):
            self._interpreter.set_input(np.ascontiguousarray(quantized(arrays[tensor["name"]], tensor)), index)
        start = time.perf_counter()
        self._interpreter.invoke()
        self.seconds += time.perf_counter() - start
        outputs = enumerate(self._outputs)
        return {tensor["name"]: dequantized(self._interpreter.get_output(i), tensor) for i, tensor in outputs}

    def arena_bytes(self) -> int:
        """Bytes of the arena, a run on zeros included: pointers are this machine's, larger than a microcontroller's.

        Raises:
            ValueError: the interpreter cannot run it.
        """
        zeros = {tensor["name"]: np.zeros(tensor["shape"], "float32") for tensor in self._inputs}
        with _explained():
            self(zeros)
        with _said() as said:
            self._interpreter.print_allocations()
        (total,) = re.findall(r"Arena allocation total (\d+) bytes", said[0])
        return int(total)


@contextlib.contextmanager
def _explained() -> collections.abc.Iterator[None]:
    """Turns the interpreter's RuntimeError into a ValueError with what it printed."""
    with _said() as said:
        try:
            yield
            return
        except RuntimeError as error:
            failed = error
    raise ValueError(f"tflite-micro cannot run the file: {' '.join(said[0].split())} {failed}") from failed


@contextlib.contextmanager
def _said() -> collections.abc.Iterator[list[str]]:
    """A list, which holds in the end what was written to the standard error inside, by C too."""
    said: list[str] = []
    with tempfile.TemporaryFile() as file:
        stderr: typing.Final = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            file.seek(0)
            said.append(file.read().decode("utf-8", "replace"))
