"""Methods of tensorflow-model-optimization: how each wraps, finishes and reads the weights of a ``tf_keras`` network.

Imported in the TensorFlow process only: importing tfmot decides for a process which Keras ``tf.keras`` is.
"""

import math
import typing

import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from keras_moe.types import Array

# Layers whose kernels are pruned and clustered: those that tfmot has a rule for.
_KERNELS = ("Conv1D", "Conv2D", "Conv2DTranspose", "Dense", "SeparableConv2D")


class Method:
    """``wrap`` a network for training, ``finish`` it afterwards; ``weights`` of a layer of the finished network."""

    def wrap(self, network: tf_keras.Model, batches: list[Array]) -> tf_keras.Model:
        """The network for training, started from ``network``; ``batches`` are some of its inputs."""
        raise NotImplementedError

    def finish(self, network: tf_keras.Model) -> tf_keras.Model:
        """The network without the wrappers added for training."""
        raise NotImplementedError

    def weights(self, finished: tf_keras.Model, layer: tf_keras.layers.Layer) -> list[Array]:
        """The arrays of the finished network's counterpart of ``layer``, in the order of ``layer.weights``."""
        arrays: list[Array] = finished.get_layer(layer.name).get_weights()
        return arrays

    def file(self, finished: tf_keras.Model) -> bytes | None:
        """Bytes of a ``.tflite`` file, or None where the ordinary export of the new weights is all there is to do."""
        return None


class Prune(Method):
    """Magnitude pruning; the sparsity rises over the first half of the training."""

    def __init__(self, sparsity: float, steps: int) -> None:
        # Each update sorts every kernel, so some thirty do; and the last step must be one of them.
        every = max(1, steps // 60)
        self.end = max(1, math.ceil(steps / 2 / every)) * every
        self.schedule = tfmot.sparsity.keras.PolynomialDecay(0.0, sparsity, 0, self.end, frequency=every)

    def wrap(self, network: tf_keras.Model, batches: list[Array]) -> tf_keras.Model:
        def wrapped(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
            if type(layer).__name__ not in _KERNELS:
                return layer
            return tfmot.sparsity.keras.prune_low_magnitude(layer, self.schedule)

        pruned = tf_keras.models.clone_model(network, clone_function=wrapped)
        self._set_step(pruned, 0)
        return pruned

    def finish(self, network: tf_keras.Model) -> tf_keras.Model:
        # An expert counts the steps in which it had images, maybe fewer than the schedule has.
        self._set_step(network, self.end)
        for layer in self._wrapped(network):
            layer.pruning_obj.conditional_mask_update()
            layer.pruning_obj.weight_mask_op()
        return tfmot.sparsity.keras.strip_pruning(network)

    def _set_step(self, network: tf_keras.Model, step: int) -> None:
        for layer in self._wrapped(network):
            layer.pruning_step.assign(step)

    def _wrapped(self, network: tf_keras.Model) -> list[typing.Any]:
        return [layer for layer in network.layers if hasattr(layer, "pruning_obj")]


class Cluster(Method):
    """Weight clustering, centroids started by k-means++ and trained."""

    def __init__(self, clusters: int) -> None:
        self.clusters = clusters

    def wrap(self, network: tf_keras.Model, batches: list[Array]) -> tf_keras.Model:
        def wrapped(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
            large = type(layer).__name__ in _KERNELS and tf.size(layer.weights[0]) > self.clusters
            return tfmot.clustering.keras.cluster_weights(layer, self.clusters) if large else layer

        return tf_keras.models.clone_model(network, clone_function=wrapped)

    def finish(self, network: tf_keras.Model) -> tf_keras.Model:
        return tfmot.clustering.keras.strip_clustering(network)
