"""What tensorflow-model-optimization does to a plain ``tf_keras`` network: before, after, and how to read its weights.

Imported by the worker only: importing tfmot decides for a process which Keras ``tf.keras`` is.
"""

import math

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

# Layers whose kernels are pruned and clustered: those that tfmot has a rule for.
_KERNELS = ("Conv1D", "Conv2D", "Conv2DTranspose", "Dense", "SeparableConv2D")


def method_of(job, steps):
    """The ``Method`` that a job asks for, over ``steps`` training steps."""
    make = {"prune": lambda: Prune(job["sparsity"], steps), "cluster": lambda: Cluster(job["clusters"]), "qat": Qat}
    return make[job["method"]]()


class Method:
    """``wrap`` a network for training, ``finish`` it afterwards; ``weights`` of a layer of the finished network."""

    def wrap(self, network, batches):
        """The network for training, started from ``network``; ``batches`` are some of its inputs."""
        raise NotImplementedError

    def finish(self, network):
        """The network without what was added for training."""
        raise NotImplementedError

    def weights(self, finished, layer):
        """The arrays of the finished network's counterpart of ``layer``, in the order of ``layer.weights``."""
        return finished.get_layer(layer.name).get_weights()

    def file(self, finished):
        """Bytes of a ``.tflite`` file, or None where the ordinary export of the new weights is all there is to do."""
        return None


class Prune(Method):
    """Magnitude pruning; the sparsity rises over the first half of the training."""

    def __init__(self, sparsity, steps):
        # Each update sorts every kernel, so some thirty do; and the last step must be one of them.
        every = max(1, steps // 60)
        self.end = max(1, math.ceil(steps / 2 / every)) * every
        self.schedule = tfmot.sparsity.keras.PolynomialDecay(0.0, sparsity, 0, self.end, frequency=every)

    def wrap(self, network, batches):
        def wrapped(layer):
            if type(layer).__name__ not in _KERNELS:
                return layer
            return tfmot.sparsity.keras.prune_low_magnitude(layer, self.schedule)

        pruned = tf_keras.models.clone_model(network, clone_function=wrapped)
        self._set_step(pruned, 0)
        return pruned

    def finish(self, network):
        # An expert counts the steps in which it had images, maybe fewer than the schedule has.
        self._set_step(network, self.end)
        for layer in self._wrapped(network):
            layer.pruning_obj.conditional_mask_update()
            layer.pruning_obj.weight_mask_op()
        return tfmot.sparsity.keras.strip_pruning(network)

    def _set_step(self, network, step):
        for layer in self._wrapped(network):
            layer.pruning_step.assign(step)

    def _wrapped(self, network):
        return [layer for layer in network.layers if hasattr(layer, "pruning_obj")]


class Cluster(Method):
    """Weight clustering, centroids started by k-means++ and trained."""

    def __init__(self, clusters):
        self.clusters = clusters

    def wrap(self, network, batches):
        def wrapped(layer):
            large = type(layer).__name__ in _KERNELS and tf.size(layer.weights[0]) > self.clusters
            return tfmot.clustering.keras.cluster_weights(layer, self.clusters) if large else layer

        return tf_keras.models.clone_model(network, clone_function=wrapped)

    def finish(self, network):
        return tfmot.clustering.keras.strip_clustering(network)


class Qat(Method):
    """Quantization-aware training to 8 bits, as TFLite's integer kernels compute."""

    def wrap(self, network, batches):
        quantized = tfmot.quantization.keras
        network, twin = tf_keras.models.clone_model(network, clone_function=_as_convolution), network
        last = network.layers[-1]

        def annotated(layer):
            if isinstance(layer, tf_keras.layers.InputLayer) or (layer is last and is_softmax(layer)):
                return layer  # a softmax's output is quantized alike in every file; the loss wants its input unrounded
            config = _OutputOnly() if type(layer).__name__ in _ELEMENTWISE else None
            return quantized.quantize_annotate_layer(layer, config)

        try:
            with quantized.quantize_scope({"_OutputOnly": _OutputOnly}):
                wrapped = quantized.quantize_apply(tf_keras.models.clone_model(network, clone_function=annotated))
        except RuntimeError as error:
            raise ValueError(f"tfmot cannot quantize {network.name!r}: {error}") from error
        for layer in twin.layers:
            if layer.weights and not _has(wrapped, layer):
                raise ValueError(
                    f"compress: tfmot takes {type(layer).__name__} {layer.name!r} apart to quantize it; its weights "
                    "cannot come back. Make it of the layers that it stands for, or train without 'qat'."
                )
            if _is_scaling(layer):
                wrapped.get_layer(f"quant_{layer.name}")._trainable_weights.clear()  # tfmot trains even what is frozen
        _start_ranges(wrapped, twin, batches)
        return wrapped

    def finish(self, network):
        return network

    def weights(self, finished, layer):
        found = finished.get_layer(f"quant_{layer.name}")
        by_name = {_leaf(v): v.numpy() for v in found.weights}
        return [by_name[_leaf(v)] for v in layer.weights]

    def file(self, finished):
        one = tf_keras.Input(batch_shape=(1, *finished.input_shape[1:]))
        converter = tf.lite.TFLiteConverter.from_keras_model(tf_keras.Model(one, finished(one, training=False)))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        content = converter.convert()
        _check_integer(content, finished.name)
        return content


def is_softmax(layer):
    """Whether all that ``layer`` does is a softmax."""
    activation = getattr(layer, "activation", None)
    return isinstance(layer, tf_keras.layers.Softmax) or (
        not layer.weights and activation is tf_keras.activations.softmax
    )


# Layers that tfmot has no rule for, and that TFLite computes in int8 as long as their output's range is known.
_ELEMENTWISE = ("Average", "Maximum", "Minimum", "Multiply", "Subtract")


class _OutputOnly(tfmot.quantization.keras.QuantizeConfig):
    def get_weights_and_quantizers(self, layer):
        return []

    def get_activations_and_quantizers(self, layer):
        return []

    def set_quantize_weights(self, layer, quantize_weights):
        pass

    def set_quantize_activations(self, layer, quantize_activations):
        pass

    def get_output_quantizers(self, layer):
        moving = tfmot.quantization.keras.quantizers.MovingAverageQuantizer
        return [moving(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)]

    def get_config(self):
        return {}


def _as_convolution(layer):
    """A ``Rescaling`` of maps as a frozen 1x1 depthwise convolution, which tfmot and TFLite quantize; others as is."""
    if not _is_scaling(layer):
        return layer
    constant = tf_keras.initializers.Constant
    return tf_keras.layers.DepthwiseConv2D(
        1, depthwise_initializer=constant(layer.scale), bias_initializer=constant(layer.offset), trainable=False,
        data_format="channels_last", name=layer.name,
    )  # fmt: skip


def _is_scaling(layer):
    return isinstance(layer, tf_keras.layers.Rescaling) and len(layer.output_shape) == 4


def _start_ranges(wrapped, network, batches):
    """Sets the ranges of activations to what ``network`` produces on ``batches``.

    tfmot starts them at -6…6 and moves them by a thousandth per step: a short training would end with its start.
    """
    inner = [layer for layer in network.layers if not isinstance(layer, tf_keras.layers.InputLayer)]
    probe = tf_keras.Model(network.inputs, [layer.get_output_at(0) for layer in inner])
    extremes = [[(tf.reduce_min(y), tf.reduce_max(y)) for y in probe(x, training=False)] for x in batches]
    for i, layer in enumerate(inner if extremes else ()):
        lowest, highest = np.mean([found[i] for found in extremes], axis=0)
        for variable in wrapped.get_layer(f"quant_{layer.name}").weights if _has(wrapped, layer) else ():
            if _leaf(variable) in ("output_min:0", "post_activation_min:0"):
                variable.assign(min(lowest, 0.0))
            elif _leaf(variable) in ("output_max:0", "post_activation_max:0"):
                variable.assign(max(highest, 0.0))


def _has(wrapped, layer):
    return f"quant_{layer.name}" in {found.name for found in wrapped.layers}


def _check_integer(content, name):
    interpreter = tf.lite.Interpreter(model_content=content)
    floats = [t["name"] for t in interpreter.get_tensor_details() if t["dtype"] == np.float32]
    if floats:
        raise ValueError(f"compress: {name!r} cannot be made of integers all through. Float tensors: {floats}")


def _leaf(variable):
    return variable.name.split("/")[-1]
