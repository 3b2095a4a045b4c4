"""From TensorFlow functions to LiteRT bytes. Runs on the TensorFlow backend only."""

import contextlib
import re
import tempfile
import warnings

from keras_moe.export.litert.constants import with_floats, with_zeros
from keras_moe.export.quantization.activation_ranges import refined
from keras_moe.graph import open_graph

QUANTIZATIONS = (None, "float16", "dynamic", "int8")


def convert(function, shapes, model, quantize=None, samples=None, integer_io=False, kept=None, clipped=True, zeros=()):
    """A LiteRT model, bytes, of one static graph with one signature, ``serving_default``.

    Args:
        function: takes tensors, returns a dict of tensors.
        shapes: dict, name of each argument -> its shape; all are float32.
        model: the Keras model that the function runs parts of, to name a layer in errors.
        quantize: one of ``QUANTIZATIONS``.
        samples: ``() -> iterator`` of dicts of arrays, to calibrate int8.
        integer_io: bool, int8: inputs and outputs are int8 too.
        kept: float16 and int8: LiteRT model, bytes, in float -> names of its tensors that stay so: with int8 those that
            operations make, with float16 constants.
        clipped: bool, int8: ranges of activations leave out rare values where that makes the others more exact.
        zeros: int8: names of arguments that only calibrate; the file has zeros in their place.

    Raises:
        ValueError: an operation that has no LiteRT builtin; it names the operation and its layer.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the interpreter that calibrates, deprecated in favour of ours
        specs = [tf.TensorSpec(shape, "float32", name=name) for name, shape in shapes.items()]
        # Not by keras.export.ExportArchive, which saves every layer and variable of the model, whatever a part needs.
        signature = tf.function(function, input_signature=specs, autograph=False)
        saved = tf.Module()
        saved.read = signature.get_concrete_function().graph.variables
        tf.saved_model.save(saved, folder, {"serving_default": signature})

        def converter(quantize):
            made = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
            _quantized(made, quantize, samples, integer_io)
            return made

        with _explained(model):
            if quantize != "int8":
                made = converter(quantize).convert()
                return with_floats(made, converter(None).convert(), kept) if kept and quantize == "float16" else made
            plain, calibrating = converter(None).convert(), converter(quantize)
            # What tf.lite.experimental.QuantizationDebugger does; it refuses where only the branches are quantized.
            calibrating._experimental_calibrate_only = True
            calibrated = refined(calibrating.convert(), plain, samples(), clipped)
            return mlir_quantize(
                with_zeros(calibrated, zeros) if zeros else calibrated,
                fully_quantize=integer_io,
                input_data_type=tf.int8 if integer_io else tf.float32,
                output_data_type=tf.int8 if integer_io else tf.float32,
                denylisted_nodes=kept(plain) if kept else None,
            )


def _quantized(converter, quantize, samples, integer_io):
    import tensorflow as tf

    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if quantize is None:
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        converter.representative_dataset = samples
        builtins = [] if integer_io else [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, *builtins]
        if integer_io:
            converter.inference_input_type = converter.inference_output_type = tf.int8


@contextlib.contextmanager
def _explained(model):
    """Names the operation and the layer where the converter has no builtin for one."""
    from tensorflow.lite.python.convert import ConverterError

    try:
        yield
    except ConverterError as error:
        text = str(error)
        missing = sorted(set(re.findall(r"\btf\.(\w+)", text.partition("flex op")[2] or text)))
        names = {call.name for call in open_graph(model).calls}
        layers = sorted(name for name in names if f"/{name}" in text)
        raise ValueError(
            f"LiteRT has no builtin operation for {missing or 'a part'} of {model.name!r}, in layer(s) "
            f"{layers or 'unknown'}. Use another operation there: only builtins run on phones without extra libraries."
        ) from error
