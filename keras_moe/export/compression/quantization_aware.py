"""Quantization-aware training: a ``tf_keras`` network that rounds as int8 will, and its integer file.

Imported in the TensorFlow process only, as ``methods`` is.
"""

import typing

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from keras_moe.export.compression.methods import Method
from keras_moe.types import Array

# Layers that tfmot has no rule for, and that TFLite computes in int8 as long as their output's range is known.
_ELEMENTWISE = ("Average", "Maximum", "Minimum", "Multiply", "Subtract")


class Qat(Method):
    """Quantization-aware training to 8 bits, as TFLite's integer kernels compute."""

    def wrap(self, network: tf_keras.Model, batches: list[Array]) -> tf_keras.Model:
        quantized = tfmot.quantization.keras
        network, clone = tf_keras.models.clone_model(network, clone_function=_as_convolution), network
        last = network.layers[-1]

        def annotated(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
            if isinstance(layer, tf_keras.layers.InputLayer) or (layer is last and is_softmax(layer)):
                return layer  # a softmax's output is quantized alike in every file; the loss wants its input unrounded
            config = _OutputOnly() if type(layer).__name__ in _ELEMENTWISE else None
            return quantized.quantize_annotate_layer(layer, config)

        try:
            with quantized.quantize_scope({"_OutputOnly": _OutputOnly}):
                wrapped = quantized.quantize_apply(tf_keras.models.clone_model(network, clone_function=annotated))
        except RuntimeError as error:
            raise ValueError(f"tfmot cannot quantize {network.name!r}: {error}") from error
        for layer in clone.layers:
            if layer.weights and not _has(wrapped, layer):
                raise ValueError(
                    f"compress: tfmot takes {type(layer).__name__} {layer.name!r} apart to quantize it; its weights "
                    "cannot come back. Make it of the layers that it stands for, or train without 'qat'."
                )
            if _is_scaling(layer):
                wrapped.get_layer(f"quant_{layer.name}")._trainable_weights.clear()  # tfmot trains even what is frozen
        _start_ranges(wrapped, clone, batches)
        return wrapped

    def finish(self, network: tf_keras.Model) -> tf_keras.Model:
        return network

    def weights(self, finished: tf_keras.Model, layer: tf_keras.layers.Layer) -> list[Array]:
        quantized = finished.get_layer(f"quant_{layer.name}")
        by_name = {_leaf(v): v.numpy() for v in quantized.weights}
        return [by_name[_leaf(v)] for v in layer.weights]

    def file(self, finished: tf_keras.Model) -> bytes:
        one = tf_keras.Input(batch_shape=(1, *finished.input_shape[1:]))
        converter = tf.lite.TFLiteConverter.from_keras_model(tf_keras.Model(one, finished(one, training=False)))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        content: bytes = converter.convert()
        _check_integer(content, finished.name)
        return content


def is_softmax(layer: tf_keras.layers.Layer) -> bool:
    """Whether all that ``layer`` does is a softmax."""
    activation = getattr(layer, "activation", None)
    return isinstance(layer, tf_keras.layers.Softmax) or (
        not layer.weights and activation is tf_keras.activations.softmax
    )


class _OutputOnly(tfmot.quantization.keras.QuantizeConfig):
    def get_weights_and_quantizers(self, layer: tf_keras.layers.Layer) -> list[typing.Any]:
        return []

    def get_activations_and_quantizers(self, layer: tf_keras.layers.Layer) -> list[typing.Any]:
        return []

    def set_quantize_weights(self, layer: tf_keras.layers.Layer, quantize_weights: list[typing.Any]) -> None:
        pass

    def set_quantize_activations(self, layer: tf_keras.layers.Layer, quantize_activations: list[typing.Any]) -> None:
        pass

    def get_output_quantizers(self, layer: tf_keras.layers.Layer) -> list[typing.Any]:
        moving = tfmot.quantization.keras.quantizers.MovingAverageQuantizer
        return [moving(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)]

    def get_config(self) -> dict[str, typing.Any]:
        return {}


def _as_convolution(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    """A ``Rescaling`` of maps as a frozen 1x1 depthwise convolution, which tfmot and TFLite quantize; others as is."""
    if not _is_scaling(layer):
        return layer
    constant = tf_keras.initializers.Constant
    return tf_keras.layers.DepthwiseConv2D(
        1, depthwise_initializer=constant(layer.scale), bias_initializer=constant(layer.offset), trainable=False,
        data_format="channels_last", name=layer.name,
    )  # fmt: skip


def _is_scaling(layer: tf_keras.layers.Layer) -> bool:
    return isinstance(layer, tf_keras.layers.Rescaling) and len(layer.output_shape) == 4


def _start_ranges(wrapped: tf_keras.Model, network: tf_keras.Model, batches: list[Array]) -> None:
    """Sets the ranges of activations to what ``network`` produces on ``batches``.

    tfmot starts them at -6…6 and moves them by a thousandth per step: a short training would end with its start.
    """
    inner = [layer for layer in network.layers if not isinstance(layer, tf_keras.layers.InputLayer)]
    probe = tf_keras.Model(network.inputs, [layer.get_output_at(0) for layer in inner])
    extremes = [[(tf.reduce_min(y), tf.reduce_max(y)) for y in probe(x, training=False)] for x in batches]
    for i, layer in enumerate(inner if extremes else ()):
        lowest, highest = np.mean([of_batch[i] for of_batch in extremes], axis=0)
        for variable in wrapped.get_layer(f"quant_{layer.name}").weights if _has(wrapped, layer) else ():
            if _leaf(variable) in ("output_min:0", "post_activation_min:0"):
                variable.assign(min(lowest, 0.0))
            elif _leaf(variable) in ("output_max:0", "post_activation_max:0"):
                variable.assign(max(highest, 0.0))


def _has(wrapped: tf_keras.Model, layer: tf_keras.layers.Layer) -> bool:
    return f"quant_{layer.name}" in {each.name for each in wrapped.layers}


def _check_integer(content: bytes, name: str) -> None:
    interpreter = tf.lite.Interpreter(model_content=content)
    floats = [t["name"] for t in interpreter.get_tensor_details() if t["dtype"] == np.float32]
    if floats:
        raise ValueError(f"compress: {name!r} cannot be made of integers all through. Float tensors: {floats}")


def _leaf(variable: tf.Variable) -> str:
    return str(variable.name).split("/")[-1]
