"""LiteRT interpreters for any number of threads."""

import collections
import collections.abc
import contextlib
import os
import threading
import time
import typing

import numpy as np

from keras_moe.export.border import TensorDetails, dequantized, quantized
from keras_moe.types import Array


class Runner(typing.Protocol):
    """One static graph in an interpreter: float32 arrays in and out, by name."""

    seconds: float
    outputs: frozenset[str]

    def shape(self, name: str) -> tuple[int, ...]: ...

    def __call__(self, arrays: dict[str, Array]) -> dict[str, Array]: ...


Runners: typing.TypeAlias = dict[str, Runner]


class Pool:
    """Interpreters of exported graphs, lent to one caller at a time.

    An interpreter holds the tensors of one image, so that two callers at once would read each other's. A set, one
    interpreter per graph, is made when a caller finds none idle, up to one set per processor; later callers wait. A
    forked process makes its own, since threads of an interpreter do not survive a fork; so does a pickled copy.

    Args:
        graphs: dict, name -> bytes of a LiteRT model.
        make: the bytes of one -> its interpreter; a function that can be pickled.
    """

    def __init__(self, graphs: dict[str, bytes], make: collections.abc.Callable[[bytes], Runner]) -> None:
        self._graphs, self._make_one = graphs, make
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._turns = threading.Semaphore(os.cpu_count() or 1)
        self._made: list[Runners] = []
        self._idle: collections.deque[Runners] = collections.deque()

    def __getstate__(self) -> tuple[dict[str, bytes], collections.abc.Callable[[bytes], Runner]]:
        return self._graphs, self._make_one

    def __setstate__(self, state: tuple[dict[str, bytes], collections.abc.Callable[[bytes], Runner]]) -> None:
        self._graphs, self._make_one = state
        self._reset()

    @property
    def seconds(self) -> float:
        """What LiteRT has taken in this process: the sum over all interpreters."""
        return sum(graph.seconds for graphs in tuple(self._made) for graph in graphs.values())

    @contextlib.contextmanager
    def lent(self) -> collections.abc.Iterator[Runners]:
        """A dict, name -> ``Runner``, that is the caller's alone inside."""
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

    def _make(self) -> Runners:
        graphs = {name: self._make_one(data) for name, data in self._graphs.items()}
        self._made.append(graphs)
        return graphs


_OF_THE_PARENT: list[list[Runners]] = []  # kept: to free an interpreter of several threads after a fork is a crash


class LiteRTGraph:
    """One static graph: float32 arrays in and out, by name; int8 tensors are converted at the border."""

    def __init__(self, data: bytes, num_threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=data, num_threads=num_threads)
        self._interpreter.allocate_tensors()
        self.seconds = 0.0
        # For the names alone: to run it, it would allocate anew for every image.
        signature = self._interpreter.get_signature_runner("serving_default")
        self._inputs, self._outputs = map(_described, (signature.get_input_details(), signature.get_output_details()))
        self.outputs = frozenset(self._outputs)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._inputs[name]["shape"])

    def __call__(self, arrays: dict[str, Array]) -> dict[str, Array]:
        for name, tensor in self._inputs.items():
            self._interpreter.set_tensor(tensor["index"], quantized(arrays[name], tensor))
        start = time.perf_counter()
        self._interpreter.invoke()
        self.seconds += time.perf_counter() - start
        return {name: self._output(tensor) for name, tensor in self._outputs.items()}

    def _output(self, tensor: TensorDetails) -> Array:
        return dequantized(self._interpreter.get_tensor(tensor["index"]), tensor)


def check_outputs(graphs: Runners) -> None:
    """Raises ValueError where the graphs do not call a prediction, and perhaps a route, as ``run`` does."""
    if "trunk" in graphs:
        given, expected = graphs["head"].outputs | (graphs["router"].outputs & {"route"}), [{"prediction", "route"}]
    else:
        (whole,) = graphs.values()
        given, expected = whole.outputs, [{"prediction"}, {"prediction", "route"}]
    if given not in expected:
        raise ValueError(
            f"expected the outputs 'prediction' and, of a mixture, 'route'. Received: {sorted(given)}; export it again."
        )


def run(graphs: Runners, image: Array) -> tuple[Array, Array | None]:
    """``(prediction, route)`` of one image, ``(1, height, width, channels)``; the route None for a dense network."""
    if "trunk" in graphs:
        return _run_parts(graphs, image)
    (whole,) = graphs.values()
    results = whole({"images": image})
    return results["prediction"], results.get("route")


def _run_parts(graphs: Runners, image: Array) -> tuple[Array, Array]:
    """Trunk and router, then the experts that the route names and no others, then the head."""
    results = graphs["trunk"]({"images": image})
    results |= graphs["router"](results)
    weights, head = results["route"][0], graphs["head"]
    outputs = [weights[k] * graphs[f"expert_{k}"](results)["output"] for k in np.flatnonzero(weights)]
    results["combined"] = sum(outputs) if outputs else np.zeros(head.shape("combined"), "float32")
    return head(results)["prediction"], results["route"]


def _described(details: dict[str, dict[str, typing.Any]]) -> dict[str, TensorDetails]:
    """Name -> ``TensorDetails``, and its index, of what LiteRT tells of one side of a signature."""
    return {name: _tensor(name, detail) for name, detail in details.items()}


def _tensor(name: str, detail: dict[str, typing.Any]) -> TensorDetails:
    scale, zero = detail["quantization"]
    described = {
        "name": name,
        "shape": detail["shape"],
        "dtype": np.dtype(detail["dtype"]).name,
        "index": detail["index"],
    }
    return {**described, "scale": scale, "zero_point": zero}
