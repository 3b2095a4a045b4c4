"""Channels scaled to like ranges, for the tensors and kernels that int8 gives one step for all of them.

A positive factor passes through ReLU and its kin unchanged: what one convolution's channel is divided by, the next
one's kernel is multiplied with, and the network computes the same. Nagel et al., Data-Free Quantization Through Weight
Equalization and Bias Correction (ICCV 2019, section 4.1), with the ranges of tensors on real inputs as in SmoothQuant
(ICML 2023, section 4; its strength 0.5). Runs on the TensorFlow backend only.
"""

import collections
import contextlib

import numpy as np
from keras import activations, layers, tree

from keras_moe.export.quantization.restored_weights import kernel_alone, weights_kept
from keras_moe.graph import open_graph
from keras_moe.layer_state import set_weights

_TINY = 1e-6  # ranges below are of channels that are not used


@contextlib.contextmanager
def equalized(model, samples):
    """Inside, each convolution that only ReLU-like layers part from the next shares its ranges with it; then all is as
    it was.

    Args:
        model: a functional model.
        samples: list of lists of arrays, its inputs.
    """
    graph = open_graph(model)
    pairs = _pairs(graph)
    with weights_kept(call.layer for pair in pairs for call in pair):
        if pairs:
            for (first, then), largest in zip(pairs, _largest(graph, pairs, samples), strict=True):
                _share(first.layer, then.layer, largest)
        yield


def _pairs(graph):
    """``(convolution, next one)``: calls, where nothing else reads what passes from one to the other."""
    readers: dict[int, list] = {}
    for call in graph.calls:
        for tensor in call.inputs:
            readers.setdefault(id(tensor), []).append(call)
    for tensor in tree.flatten(graph.output):
        readers.setdefault(id(tensor), []).append(None)
    uses = collections.Counter(id(call.layer) for call in graph.calls)

    def reader(call):
        found = readers.get(id(call.outputs), [])
        return found[0] if len(found) == 1 and found[0] and uses[id(found[0].layer)] == 1 else None

    pairs = []
    for call in graph.calls:
        if type(call.layer) is not layers.Conv2D or not _homogeneous(call.layer) or uses[id(call.layer)] > 1:
            continue
        if not kernel_alone(call.layer):
            continue
        then = reader(call)
        while then and not hasattr(then.layer, "kernel") and _homogeneous(then.layer):
            then = reader(then)
        if then and type(then.layer) in (layers.Conv2D, layers.Conv2DTranspose) and _whole(then.layer):
            pairs.append((call, then))
    return pairs


def _homogeneous(layer):
    """Whether a positive factor of the layer's input, or of its kernel and bias, is one of its output."""
    if isinstance(layer, layers.ReLU):
        return layer.max_value is None and not layer.threshold
    if isinstance(layer, (layers.PReLU, layers.LeakyReLU)):
        return True
    return getattr(layer, "activation", None) in (activations.linear, activations.relu)


def _whole(layer):
    return getattr(layer, "groups", 1) == 1 and kernel_alone(layer)


def _largest(graph, pairs, samples):
    """For each pair, the largest absolute value of each channel of the first one's output, on ``samples``."""
    import tensorflow as tf

    @tf.function
    def of_sample(tensors):
        found = graph.run(tensors)
        return [tf.reduce_max(tf.abs(found[id(first.outputs)]), axis=(0, 1, 2)) for first, _ in pairs]

    found = [[x.numpy() for x in of_sample([tf.constant(a) for a in arrays])] for arrays in samples]
    return [np.max(each, axis=0) for each in zip(*found, strict=True)]


def _share(first, then, largest):
    """Divides channels of ``first`` by the root of their range over that of their weights in ``then``."""
    axis = 3 if isinstance(then, layers.Conv2DTranspose) else 2
    kernel, *bias = first.get_weights()
    reading, *rest = then.get_weights()
    weights = np.abs(reading).max(axis=tuple(i for i in range(4) if i != axis))
    used = (largest > _TINY) & (weights > _TINY)
    factor = np.where(used, np.sqrt(np.maximum(largest, _TINY) / np.maximum(weights, _TINY)), 1).astype("float32")
    set_weights(first, [kernel / factor, *(b / factor for b in bias)])
    set_weights(then, [reading * (factor if axis == 3 else factor[:, None]), *rest])
