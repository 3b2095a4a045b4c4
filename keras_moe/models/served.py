"""A model in use: calls from threads, and export to other runtimes."""

import contextlib
import functools
import threading
import typing

import keras

from keras_moe.byte_order import native
from keras_moe.layers import EarlyExit, ExpertBank, TopKGate
from keras_moe.layers.inference import every_expert
from keras_moe.types import Path

# The formats of each backend whose files predict as the model does.
FORMATS = {
    "tensorflow": ("tf_saved_model", "onnx", "openvino", "litert"),
    "jax": ("tf_saved_model",),
    "torch": ("onnx", "openvino", "torch"),
}
ROUTING = (EarlyExit, ExpertBank, TopKGate)


def _in_turn(name: str) -> typing.Any:
    """The method ``name`` of ``keras.Model``, for one thread at a time if the backend needs it, on native arrays."""

    @functools.wraps(getattr(keras.Model, name))
    def method(self: "ServedModel", *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        with self._turns:
            return getattr(super(ServedModel, self), name)(*native(args), **native(kwargs))

    return method


class ServedModel(keras.Model):
    """A functional model that several threads may call at once, as long as none trains it.

    On JAX the threads take turns, because Keras' ``predict`` takes the variables out of the model until it returns.

    Args:
        turns: the lock of a model that shares its variables with this one; None: a new one.
    """

    def __init__(self, *args: typing.Any, turns: typing.Any = None, **kwargs: typing.Any) -> None:
        super().__init__(*args, **kwargs)
        new = threading.RLock if keras.backend.backend() == "jax" else contextlib.nullcontext
        self._turns = turns or new()

    __call__ = _in_turn("__call__")
    _predict = _in_turn("predict")
    predict_on_batch = _in_turn("predict_on_batch")
    evaluate = _in_turn("evaluate")
    test_on_batch = _in_turn("test_on_batch")

    def predict(self, x: typing.Any, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        """Predictions, as of ``keras.Model.predict``.

        Raises:
            ValueError: no images, for which Keras has no prediction.

        Example:
            >>> zoo.load("test_hydranet").predict(np.zeros((3, 8, 8, 1)), verbose=0).shape
            (3, 10)
        """
        if any(tuple(getattr(images, "shape", ()))[:1] == (0,) for images in keras.tree.flatten(x)):
            raise ValueError(f"predict: expected at least one image. Received: none, for {self.name!r}")
        return self._predict(x, *args, **kwargs)

    def export(
        self,
        filepath: Path,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: typing.Any = None,
        **kwargs: typing.Any,
    ) -> None:
        """Writes the model for another runtime, as ``keras.Model.export`` does. The file computes the route, too.

        A SavedModel from TensorFlow runs only the chosen experts. In all other files every expert runs and the route
        weighs the outputs, with the same predictions. ``keras_moe.export.litert`` writes LiteRT files in which only the
        chosen experts run.

        OpenVINO computes in bfloat16 on processors that support it, which changes the route of some images. Compile the
        file with ``{"INFERENCE_PRECISION_HINT": "f32"}``.

        Args:
            filepath, verbose, input_signature, kwargs: as for ``keras.Model.export``.
            format: on TensorFlow ``"tf_saved_model"``, ``"onnx"``, ``"openvino"`` or ``"litert"``; on JAX
                ``"tf_saved_model"``; on PyTorch ``"onnx"``, ``"openvino"`` or ``"torch"``.

        Raises:
            ValueError: see ``check_format``.

        Example:
            >>> import os
            >>> format = "torch" if keras.backend.backend() == "torch" else "tf_saved_model"
            >>> model = keras_moe.models.Classifier((8, 8, 3), 0.25, "resnet8")
            >>> model.export("classifier.pt2", format, verbose=False)
            >>> os.path.exists("classifier.pt2")
            True
        """
        self.check_format(format, input_signature)
        routed = (keras.backend.backend(), format) == ("tensorflow", "tf_saved_model")
        with contextlib.nullcontext() if routed else every_expert():
            super().export(filepath, format, verbose, input_signature, **kwargs)

    def check_format(self, format: str, input_signature: typing.Any = None) -> None:
        """Checks before an export that a file of ``format`` can predict as the model does.

        Subclasses with further limits extend it.

        Raises:
            ValueError: a format without routing, for a model with a gate; or a further limit of the model's class.

        Example:
            >>> zoo.load("test_hydranet").check_format("docx")
            Traceback (most recent call last):
            ...
            ValueError: export: on ... the `format` of a model with a gate must be one of ...
        """
        backend = keras.backend.backend()
        if format not in FORMATS[backend] and any(isinstance(layer, ROUTING) for layer in self.layers):
            elsewhere = [name for name, formats in FORMATS.items() if format in formats]
            raise ValueError(
                f"export: on {backend} the `format` of a model with a gate must be one of {FORMATS[backend]}. "
                f"Received: format={format!r}, which can be had on {elsewhere or 'no backend'}: set KERAS_BACKEND, "
                "make the model and load its weights there. keras_moe.export.litert writes LiteRT files from any "
                "backend."
            )
