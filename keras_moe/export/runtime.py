"""Running exported files with LiteRT in Python."""

import hashlib
import json
import pathlib
import time

import numpy as np

from keras_moe.checks import IntegrityError
from keras_moe.export import integrity
from keras_moe.export.metadata import DESCRIPTION, LABELS


class LiteRTModel:
    """An exported model, run by ``ai_edge_litert`` (extra ``litert``); no Keras backend is needed.

    Files are verified before the runtime sees them: it might crash on a damaged one.

    Args:
        path: a ``.tflite`` file that ``litert`` wrote, or the ``.json`` manifest of parts.
        num_threads: int.
        sha256: hex digest that the file (or manifest) must have, such as a card's; None: its own checksum decides.

    Attributes:
        description: dict, what ``litert`` wrote of the model: its name, form, quantization and input shape.
        labels: tuple of str, empty where the model has no classes.
        runtime_seconds: float, what LiteRT itself has taken since the file was opened; the rest of a call is Python.

    Raises:
        FileNotFoundError: no such file.
        IntegrityError: not what was exported.
        ImportError: no ``ai_edge_litert``.
    """

    def __init__(self, path, num_threads=1, sha256=None):
        path = pathlib.Path(path)
        if path.suffix == ".json":
            self.description = integrity.read_manifest(_read(path, sha256), path)
            rows = self.description["parts"]
            graphs = {row["name"]: _Graph(path.parent / row["file"], num_threads, row["sha256"]) for row in rows}
            self._run = _Parts(graphs) if "trunk" in graphs else _Whole(graphs["whole"])
        else:
            graphs = {"model": _Graph(path, num_threads, sha256)}
            self.description = json.loads(graphs["model"].files[DESCRIPTION])
            self._run = _Whole(graphs["model"])
        self._graphs = list(graphs.values())
        texts = [graph.files[LABELS].decode() for graph in self._graphs if LABELS in graph.files]
        self.labels = tuple(texts[0].splitlines()) if texts else ()

    @property
    def runtime_seconds(self):
        return sum(graph.seconds for graph in self._graphs)

    def predict(self, images):
        """Predictions of images, one after another.

        Args:
            images: float or uint8 array ``(n, height, width, channels)``, in the range the model takes.

        Returns:
            float32 array ``(n, ...)``.

        Raises:
            ValueError: another shape.
        """
        return self.predict_routed(images)[0]

    def route(self, images):
        """Routing weights, float32 ``(n, experts)``; zero where an expert did not run.

        Raises:
            ValueError: another shape than ``predict`` takes, or a model without a gate.
        """
        route = self.predict_routed(images)[1]
        if route is None:
            raise ValueError(f"{self.description['name']!r} is a dense network: it has no gate and no route.")
        return route

    def predict_routed(self, images):
        """``(predictions, route)``; ``route`` is None for a dense network."""
        shape = tuple(self.description["input_shape"])
        if np.ndim(images) != 4 or np.shape(images)[1:] != shape:
            raise ValueError(
                f"Expected images of shape (n, {', '.join(map(str, shape))}). Received: {np.shape(images)}"
            )
        if len(images) == 0:
            raise ValueError("Expected at least one image. Received: none")
        results = [self._run(np.asarray(image, "float32")[None]) for image in images]
        predictions, routes = zip(*results, strict=True)
        return np.concatenate(predictions), None if routes[0] is None else np.concatenate(routes)


class _Graph:
    """One static graph: float32 arrays in and out, by name; int8 tensors are converted at the border."""

    def __init__(self, path, num_threads, sha256):
        from ai_edge_litert.interpreter import Interpreter

        data = _read(path, sha256)
        self.files = integrity.unseal(data, path)
        self._interpreter = Interpreter(model_content=data, num_threads=num_threads)
        self._interpreter.allocate_tensors()
        self.seconds = 0.0
        # For the names alone: to run it, it would allocate anew for every image.
        signature = self._interpreter.get_signature_runner("serving_default")
        self._inputs, self._outputs = signature.get_input_details(), signature.get_output_details()

    def shape(self, name):
        return tuple(self._inputs[name]["shape"])

    def __call__(self, tensors):
        for name, detail in self._inputs.items():
            self._interpreter.set_tensor(detail["index"], _quantize(tensors[name], detail))
        start = time.perf_counter()
        self._interpreter.invoke()
        self.seconds += time.perf_counter() - start
        return {name: self._output(detail) for name, detail in self._outputs.items()}

    def _output(self, detail):
        return _dequantize(self._interpreter.get_tensor(detail["index"]), detail)


class _Whole:
    def __init__(self, graph):
        self._graph = graph

    def __call__(self, image):
        found = self._graph({"images": image})
        return found["predictions"], found.get("route")


class _Parts:
    """Trunk and router, then the experts that the route names and no others, then the head."""

    def __init__(self, graphs):
        self._trunk, self._router, self._head = graphs["trunk"], graphs["router"], graphs["head"]
        self._experts = [graphs[f"expert_{k}"] for k in range(len(graphs) - 3)]

    def __call__(self, image):
        found = self._trunk({"images": image})
        found |= self._router(found)
        weights = found["route"][0]
        outputs = [weights[k] * self._experts[k](found)["output"] for k in np.flatnonzero(weights)]
        found["combined"] = sum(outputs) if outputs else np.zeros(self._head.shape("combined"), "float32")
        return self._head(found)["predictions"], found["route"]


def _read(path, sha256):
    data = path.read_bytes()
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise IntegrityError(f"{path} does not have the sha256 {sha256}. Fetch or export it again.")
    return data


def _quantize(tensor, detail):
    if detail["dtype"] == np.float32:
        return np.asarray(tensor, "float32")
    scale, zero = detail["quantization"]
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.rint(tensor / scale) + zero, limits.min, limits.max).astype(detail["dtype"])


def _dequantize(tensor, detail):
    if detail["dtype"] == np.float32:
        return tensor
    scale, zero = detail["quantization"]
    return ((tensor.astype("float32") - zero) * scale).astype("float32")
