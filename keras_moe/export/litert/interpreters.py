"""LiteRT interpreters for any number of threads."""

import collections
import collections.abc
import contextlib
import os
import threading
import time
import typing

import numpy as np

from keras_moe.types import Array

Graphs: typing.TypeAlias = "dict[str, Graph]"
_Detail: typing.TypeAlias = dict[str, typing.Any]  # of a tensor, as the interpreter tells it


class Pool:
    """Interpreters of exported graphs, lent to one caller at a time.

    An interpreter holds the tensors of one image, so that two callers at once would read each other's. A set, one
    interpreter per graph, is made when a caller finds none idle, up to one set per processor; later callers wait. A
    forked process makes its own, since threads of an interpreter do not survive a fork; so does a pickled copy.

    Args:
        graphs: dict, name -> bytes of a LiteRT model.
        num_threads: of each interpreter.
    """

    def __init__(self, graphs: dict[str, bytes], num_threads: int) -> None:
        self._graphs, self._num_threads = graphs, num_threads
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._turns = threading.Semaphore(os.cpu_count() or 1)
        self._made: list[Graphs] = []
        self._idle: collections.deque[Graphs] = collections.deque()

    def __getstate__(self) -> tuple[dict[str, bytes], int]:
        return self._graphs, self._num_threads

    def __setstate__(self, state: tuple[dict[str, bytes], int]) -> None:
        self._graphs, self._num_threads = state
        self._reset()

    @property
    def seconds(self) -> float:
        """What LiteRT has taken in this process: the sum over all interpreters."""
        return sum(graph.seconds for graphs in tuple(self._made) for graph in graphs.values())

    @contextlib.contextmanager
    def lent(self) -> collections.abc.Iterator[Graphs]:
        """A dict, name -> ``Graph``, that is the caller's alone inside."""
        if self._process != os.getpid():
            _OF_THE_PARENT.append(self._made)
            self._reset()
        with self._turns:
            try:
                graphs = self._idle.pop()
            except IndexError:
                graphs = self._make()
            try:
                yield graphs
            finally:
                self._idle.append(graphs)

    def _make(self) -> Graphs:
        graphs = {name: Graph(data, self._num_threads) for name, data in self._graphs.items()}
        self._made.append(graphs)
        return graphs


_OF_THE_PARENT: list[list[Graphs]] = []  # kept: to free an interpreter of several threads after a fork is a crash


class Graph:
    """One static graph: float32 arrays in and out, by name; int8 tensors are converted at the border."""

    def __init__(self, data: bytes, num_threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=data, num_threads=num_threads)
        self._interpreter.allocate_tensors()
        self.seconds = 0.0
        # For the names alone: to run it, it would allocate anew for every image.
        signature = self._interpreter.get_signature_runner("serving_default")
        self._inputs, self._outputs = signature.get_input_details(), signature.get_output_details()

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._inputs[name]["shape"])

    def __call__(self, tensors: dict[str, Array]) -> dict[str, Array]:
        for name, detail in self._inputs.items():
            self._interpreter.set_tensor(detail["index"], _quantize(tensors[name], detail))
        start = time.perf_counter()
        self._interpreter.invoke()
        self.seconds += time.perf_counter() - start
        return {name: self._output(detail) for name, detail in self._outputs.items()}

    def _output(self, detail: _Detail) -> Array:
        return _dequantize(self._interpreter.get_tensor(detail["index"]), detail)


def run(graphs: Graphs, image: Array) -> tuple[Array, Array | None]:
    """``(prediction, route)`` of one image, ``(1, height, width, channels)``; the route None for a dense network."""
    if "trunk" in graphs:
        return _run_parts(graphs, image)
    (whole,) = graphs.values()
    found = whole({"images": image})
    route = found.pop("route", None)
    (prediction,) = found.values()  # whatever a published file calls it
    return prediction, route


def _run_parts(graphs: Graphs, image: Array) -> tuple[Array, Array]:
    """Trunk and router, then the experts that the route names and no others, then the head."""
    found = graphs["trunk"]({"images": image})
    found |= graphs["router"](found)
    weights, head = found["route"][0], graphs["head"]
    outputs = [weights[k] * graphs[f"expert_{k}"](found)["output"] for k in np.flatnonzero(weights)]
    found["combined"] = sum(outputs) if outputs else np.zeros(head.shape("combined"), "float32")
    (prediction,) = head(found).values()
    return prediction, found["route"]


def _quantize(tensor: Array, detail: _Detail) -> Array:
    if detail["dtype"] == np.float32:
        return np.asarray(tensor, "float32")
    scale, zero = detail["quantization"]
    limits = np.iinfo(detail["dtype"])
    return np.asarray(np.clip(np.rint(tensor / scale) + zero, limits.min, limits.max), detail["dtype"])


def _dequantize(tensor: Array, detail: _Detail) -> Array:
    if detail["dtype"] == np.float32:
        return tensor
    scale, zero = detail["quantization"]
    return np.asarray((tensor.astype("float32") - zero) * scale, "float32")
