"""Running exported files in Python, with LiteRT or the interpreter of microcontrollers."""

import collections.abc
import functools
import hashlib
import pathlib

import numpy as np

from keras_moe.checks import IntegrityError, check, integer, require
from keras_moe.export.litert import integrity, interpreters
from keras_moe.export.litert.metadata import LABELS
from keras_moe.labels import from_lines
from keras_moe.types import Array, Path

RUNTIMES = ("litert", "tflm")


class LiteRTModel:
    """An exported model, run by ``ai_edge_litert`` (extra ``litert``); no Keras backend is needed.

    Files are verified before the runtime sees them: it might crash on a damaged one.

    Any number of threads may ask one model at once. Each call runs on interpreters of its own, lent from a pool that
    grows to as many as were ever needed at once, one set per processor at most; a set takes a few times the file's
    size, and all are freed with the model. LiteRT runs outside Python's global lock, so that threads work side by side
    (``python -m benchmarks.threads``); with an interpreter per thread, a server of many threads would hold as many. A
    model may be pickled, with what its files held, and used after a fork.

    Args:
        path: a ``.tflite`` file that ``litert`` wrote, or the ``.json`` manifest of parts.
        num_threads: int >= 1, of each interpreter.
        sha256: hex digest that the file (or manifest) must have, such as a card's; None: its own checksum decides.
        runtime: ``"litert"``, or ``"tflm"``: the interpreter of microcontrollers (extra ``edge``), to see what a file
            gives there. It has one thread and takes no file of weights in float16 or of dynamic quantization.

    Attributes:
        description: dict, what ``litert`` wrote of the model: its name, form, quantization and input shape.
        labels: tuple of str, empty where the model has no classes.
        runtime_seconds: float, what the runtime itself has taken since the file was opened, summed over the threads of
            this process; the rest of a call is Python.

    Raises:
        FileNotFoundError: no such file.
        IntegrityError: not what was exported.
        ValueError: another ``num_threads`` or ``runtime``, or a file that the runtime cannot run.
        ImportError: no ``ai_edge_litert``, or no ``tflite_micro``.

    Example:
        >>> (path,) = zoo.download("hydranet_cifar100", ".", "routed_int8.tflite")
        >>> file = export.LiteRTModel(path)
        >>> predictions, route = file.predict_routed(images.crops((32, 32, 3), 4))
        >>> predictions.shape, route.shape, len(file.labels)
        ((4, 100), (4, 8), 100)
    """

    def __init__(self, path: Path, num_threads: int = 1, sha256: str | None = None, runtime: str = "litert") -> None:
        num_threads = integer("LiteRTModel", "num_threads", num_threads, 1)
        check("LiteRTModel", "runtime", runtime, runtime in RUNTIMES, f"one of {RUNTIMES}")
        require("LiteRTModel", "litert", "ai_edge_litert")
        path = pathlib.Path(path)
        graphs: collections.abc.Mapping[str, tuple[pathlib.Path, str | None]]
        if path.suffix == ".json":
            self.description = integrity.checked_description(integrity.read_manifest(_read(path, sha256), path), path)
            graphs = integrity.listed_parts(self.description, path)
        else:
            graphs = {"model": (path, sha256)}
        contents = {name: _read(*pinned) for name, pinned in graphs.items()}
        files = {name: integrity.unseal(data, graphs[name][0]) for name, data in contents.items()}
        if path.suffix != ".json":
            self.description = integrity.attached_description(files["model"], path)
        self.labels = from_lines(next((attached[LABELS] for attached in files.values() if LABELS in attached), b""))
        self._pool = interpreters.Pool(contents, _interpreter(runtime, num_threads))
        try:
            with self._pool.lent() as made:  # makes the first interpreters
                interpreters.check_outputs(made)
        except (ValueError, RuntimeError, LookupError, TypeError) as error:
            raise ValueError(f"{path} cannot be run by {runtime}: {error}") from error

    @property
    def runtime_seconds(self) -> float:
        """What the runtime itself has taken, see the class.

        Example:
            >>> (path,) = zoo.download("resnet8_cifar100_coarse", ".", "routed_int8.tflite")
            >>> file = export.LiteRTModel(path)
            >>> before, _ = file.runtime_seconds, file.predict(np.zeros((2, 32, 32, 3)))
            >>> file.runtime_seconds > before
            True
        """
        return self._pool.seconds

    def predict(self, images: Array) -> Array:
        """Predictions of images, one after another.

        Args:
            images: float or uint8 array ``(n, height, width, channels)``, in the range the model takes.

        Returns:
            float32 array ``(n, ...)``.

        Raises:
            ValueError: another shape.

        Example:
            >>> (path,) = zoo.download("hydranet_cifar100_coarse", ".", "routed_int8.tflite")
            >>> export.LiteRTModel(path).predict(np.zeros((2, 32, 32, 3))).shape
            (2, 20)
        """
        return self.predict_routed(images)[0]

    def route(self, images: Array) -> Array:
        """Routing weights, float32 ``(n, experts)``; zero where an expert did not run.

        Raises:
            ValueError: another shape than ``predict`` takes, or a model without a gate.

        Example:
            >>> (path,) = zoo.download("hydranet_cifar100_coarse", ".", "routed_int8.tflite")
            >>> export.LiteRTModel(path).route(np.zeros((2, 32, 32, 3))).shape
            (2, 5)
        """
        route = self.predict_routed(images)[1]
        if route is None:
            raise ValueError(f"{self.description['name']!r} is a dense network: it has no gate and no route.")
        return route

    def predict_routed(self, images: Array) -> tuple[Array, Array | None]:
        """``(predictions, route)``; ``route`` is None for a dense network.

        Example:
            >>> (path,) = zoo.download("resnet8_cifar100_coarse", ".", "routed_int8.tflite")
            >>> predictions, route = export.LiteRTModel(path).predict_routed(np.zeros((2, 32, 32, 3)))
            >>> predictions.shape, route  # a dense network
            ((2, 20), None)
        """
        shape = tuple(self.description["input_shape"])
        if np.ndim(images) != 4 or np.shape(images)[1:] != shape:
            raise ValueError(
                f"Expected images of shape (n, {', '.join(map(str, shape))}). Received: {np.shape(images)}"
            )
        if len(images) == 0:
            raise ValueError("Expected at least one image. Received: none")
        with self._pool.lent() as graphs:
            results = [interpreters.run(graphs, np.asarray(image, "float32")[None]) for image in images]
        predictions, routes = zip(*results, strict=True)
        return np.concatenate(predictions), None if routes[0] is None else np.concatenate(routes)


def _interpreter(runtime: str, num_threads: int) -> collections.abc.Callable[[bytes], interpreters.Runner]:
    """Bytes of a graph -> what runs it; a function that can be pickled."""
    if runtime == "litert":
        return functools.partial(interpreters.LiteRTGraph, num_threads=num_threads)
    require("LiteRTModel", "edge", "tflite_micro")
    from keras_moe.export.targets.tflm import TFLMGraph

    return TFLMGraph


def _read(path: pathlib.Path, sha256: str | None) -> bytes:
    data = path.read_bytes()
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise IntegrityError(f"{path} does not have the sha256 {sha256}. Fetch or export it again.")
    return data
