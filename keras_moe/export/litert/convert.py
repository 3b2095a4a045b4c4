"""Conversion of TensorFlow functions to LiteRT bytes. Runs on the TensorFlow backend only."""

import collections.abc
import contextlib
import re
import tempfile
import typing
import warnings

from keras_moe.export.litert.constants import with_floats, with_zeros
from keras_moe.export.quantization.activation_ranges import refined
from keras_moe.graph import Graph
from keras_moe.types import Array, Tensor

QUANTIZATIONS = (None, "float16", "dynamic", "int8")
# LiteRT model in float -> names of its tensors that stay so.
FloatTensors: typing.TypeAlias = collections.abc.Callable[[bytes], list[str]]


def convert(
    function: collections.abc.Callable[..., dict[str, Tensor]],
    shapes: dict[str, tuple[int, ...]],
    graph: Graph,
    quantize: str | None = None,
    samples: list[dict[str, Array]] | None = None,
    integer_io: bool = False,
    float_tensors: FloatTensors | None = None,
    clipped: bool = True,
    zeros: tuple[str, ...] = (),
) -> bytes:
    """A LiteRT model, bytes, of one static graph with one signature, ``serving_default``.

    Args:
        function: takes tensors, returns a dict of tensors.
        shapes: dict, name of each argument -> its shape; all are float32.
        graph: of the model that the function runs parts of, to name a layer in errors.
        quantize: one of ``QUANTIZATIONS``.
        samples: the function's arguments by name, to calibrate int8.
        integer_io: int8: inputs and outputs are int8 too.
        float_tensors: float16 and int8: a function of the float LiteRT model, bytes, that names the tensors to keep in
            float: with int8 results of operations, with float16 constants.
        clipped: int8: ranges of activations leave out rare values where that makes the others more exact.
        zeros: int8: names of arguments that only calibrate; the file has zeros in their place.

    Raises:
        ValueError: an operation that has no LiteRT builtin; it names the operation and its layer.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), _explained(graph):
        warnings.simplefilter("ignore")  # of the interpreter that calibrates, deprecated in favour of ours
        _save(function, shapes, folder)
        if quantize == "int8" and samples:
            return _in_int8(folder, samples, integer_io, float_tensors, clipped, zeros)
        converted: bytes = _converter(folder, quantize).convert()
        if float_tensors and quantize == "float16":
            return with_floats(converted, _converter(folder).convert(), float_tensors)
        return converted


def _save(
    function: collections.abc.Callable[..., dict[str, Tensor]], shapes: dict[str, tuple[int, ...]], folder: str
) -> None:
    import tensorflow as tf

    specs = [tf.TensorSpec(shape, "float32", name=name) for name, shape in shapes.items()]
    # Not by keras.export.ExportArchive, which saves every layer and variable of the model, whatever a part needs.
    signature = tf.function(function, input_signature=specs, autograph=False)
    saved = tf.Module()
    saved.read = signature.get_concrete_function().graph.variables
    tf.saved_model.save(saved, folder, {"serving_default": signature})


def _converter(folder: str, quantize: str | None = None) -> typing.Any:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if quantize is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    return converter


def _in_int8(
    folder: str,
    samples: list[dict[str, Array]],
    integer_io: bool,
    float_tensors: FloatTensors | None,
    clipped: bool,
    zeros: tuple[str, ...],
) -> bytes:
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    plain, calibrating = _converter(folder).convert(), _converter(folder, "int8")
    builtins = [] if integer_io else [tf.lite.OpsSet.TFLITE_BUILTINS]
    calibrating.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, *builtins]
    calibrating.representative_dataset = lambda: iter(samples)
    border = tf.int8 if integer_io else tf.float32
    calibrating.inference_input_type = calibrating.inference_output_type = border
    # What tf.lite.experimental.QuantizationDebugger does; it refuses where only the branches are quantized.
    calibrating._experimental_calibrate_only = True
    calibrated = refined(calibrating.convert(), plain, samples, clipped)
    quantized: bytes = mlir_quantize(
        with_zeros(calibrated, zeros) if zeros else calibrated,
        fully_quantize=integer_io,
        input_data_type=border,
        output_data_type=border,
        denylisted_nodes=float_tensors(plain) if float_tensors else None,
    )
    return quantized


@contextlib.contextmanager
def _explained(graph: Graph) -> collections.abc.Iterator[None]:
    """Names the operation and the layer where the converter has no builtin for one."""
    from tensorflow.lite.python.convert import ConverterError

    try:
        yield
    except ConverterError as error:
        text = str(error)
        missing = sorted(set(re.findall(r"\btf\.(\w+)", text.partition("flex op")[2] or text)))
        layers = sorted({call.name for call in graph.calls if f"/{call.name}" in text})
        raise ValueError(
            f"LiteRT has no builtin operation for {missing or 'a part'} of {graph.name!r}, in layer(s) "
            f"{layers or 'unknown'}. Use another operation there: only builtins run on phones without extra libraries."
        ) from error
