"""Channels scaled to like ranges, for the tensors and kernels that int8 gives one step for all of them.

A positive factor passes through ReLU and its kin unchanged: what one convolution's channel is divided by, the next
one's kernel is multiplied with, and the network computes the same. Nagel et al., Data-Free Quantization Through Weight
Equalization and Bias Correction (ICCV 2019, section 4.1), with the ranges of tensors on real inputs as in SmoothQuant
(ICML 2023, section 4; its strength 0.5). Runs on the TensorFlow backend only.
"""

import collections
import collections.abc
import contextlib
import typing

import keras
import numpy as np
from keras import activations, layers, tree

from keras_moe.export.quantization.restored_weights import kernel_alone, weights_kept
from keras_moe.graph import Call, Graph
from keras_moe.layer_state import set_weights
from keras_moe.types import Array, Tensor

_ACTIVATIONS = (layers.Activation, layers.LeakyReLU, layers.PReLU, layers.ReLU)  # element by element
_TINY = 1e-6  # ranges below are of channels that are not used
_Pair: typing.TypeAlias = tuple[Call, Call]  # a convolution, and the next one


@contextlib.contextmanager
def equalized(graph: Graph, samples: list[list[Array]]) -> collections.abc.Iterator[None]:
    """Scales channels inside the context; the weights come back at its end.

    Each convolution shares its ranges with the next one, where only ReLU-like layers lie between them.

    Args:
        graph: of a functional model.
        samples: list of lists of arrays, its inputs.
    """
    pairs = _pairs(graph)
    with weights_kept(call.layer for pair in pairs for call in pair):
        if pairs:
            for (first, then), largest in zip(pairs, _largest(graph, pairs, samples), strict=True):
                _share(first.layer, then.layer, largest)
        yield


def _pairs(graph: Graph) -> list[_Pair]:
    """Convolutions and their next ones, where nothing else reads what passes from one to the other."""
    pairs, only_reader = [], _only_readers(graph)
    for call in graph.calls:
        if type(call.layer) is not layers.Conv2D or not _homogeneous(call.layer) or not kernel_alone(call.layer):
            continue
        then = only_reader(call)
        while then and type(then.layer) in _ACTIVATIONS and _homogeneous(then.layer):
            then = only_reader(then)
        if then and type(then.layer) in (layers.Conv2D, layers.Conv2DTranspose) and _whole(then.layer):
            pairs.append((call, then))
    return pairs


def _only_readers(graph: Graph) -> collections.abc.Callable[[Call], Call | None]:
    """``Call -> the only call that reads what it gives``; None without one, or where a layer is called again."""
    readers: dict[keras.KerasTensor, list[Call | None]] = collections.defaultdict(list)
    for call in graph.calls:
        for tensor in call.inputs:
            readers[tensor].append(call)
    for tensor in tree.flatten(graph.output):
        readers[tensor].append(None)  # whoever uses the model
    uses = collections.Counter(call.layer for call in graph.calls)

    def only_reader(call: Call) -> Call | None:
        calls_reading = readers[call.results[0]] if len(call.results) == 1 else []
        then = calls_reading[0] if len(calls_reading) == 1 else None
        return then if then and uses[call.layer] == uses[then.layer] == 1 else None

    return only_reader


def _homogeneous(layer: keras.Operation) -> bool:
    """Whether a positive factor of the layer's input, or of its kernel and bias, is one of its output."""
    if isinstance(layer, layers.ReLU):
        return layer.max_value is None and not layer.threshold
    if isinstance(layer, (layers.PReLU, layers.LeakyReLU)):
        return True
    return getattr(layer, "activation", None) in (activations.linear, activations.relu)


def _whole(layer: keras.Layer) -> bool:
    return getattr(layer, "groups", 1) == 1 and kernel_alone(layer)


def _largest(graph: Graph, pairs: list[_Pair], samples: list[list[Array]]) -> list[Array]:
    """For each pair, the largest absolute value of each channel of the first one's output, on ``samples``."""
    import tensorflow as tf

    def of_sample(tensors: list[Tensor]) -> list[Tensor]:
        values = graph.run(tensors)
        return [tf.reduce_max(tf.abs(values[first.outputs]), axis=(0, 1, 2)) for first, _ in pairs]

    run = tf.function(of_sample, autograph=False)
    maxima = [[x.numpy() for x in run([tf.constant(a) for a in arrays])] for arrays in samples]
    return [np.max(each, axis=0) for each in zip(*maxima, strict=True)]


def _share(first: keras.Layer, then: keras.Layer, largest: Array) -> None:
    """Divides channels of ``first`` by the root of their range over that of their weights in ``then``."""
    axis = 3 if isinstance(then, layers.Conv2DTranspose) else 2
    kernel, *bias = first.get_weights()
    reading, *rest = then.get_weights()
    weights = np.abs(reading).max(axis=tuple(i for i in range(4) if i != axis))
    used = (largest > _TINY) & (weights > _TINY)
    factor = np.where(used, np.sqrt(np.maximum(largest, _TINY) / np.maximum(weights, _TINY)), 1).astype("float32")
    set_weights(first, [kernel / factor, *(b / factor for b in bias)])
    set_weights(then, [reading * (factor if axis == 3 else factor[:, None]), *rest])
