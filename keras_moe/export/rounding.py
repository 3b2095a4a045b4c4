"""Kernels rounded to the int8 grid so that a layer's outputs change least, rather than its weights.

Each weight rounded to the nearest step is off by up to half of one, and over inputs that vary together, as neighbouring
pixels do, these errors add up. Here the errors of the weights rounded so far are made up for by the others, on the
inputs that the layer really sees: optimal brain quantization (Frantar and Alistarh, NeurIPS 2022) in the fixed order of
GPTQ (ICLR 2023). Runs on the TensorFlow backend only.
"""

import contextlib

import keras
import numpy as np
from keras import layers, ops

from keras_moe.graph import open_graph

_STEPS = 127  # of a kernel's largest weight per output channel: the grid that the converter will find
_ROWS = 1024  # places of a map, evenly spread, that one sample counts with
_DAMPING = 1e-2  # of the mean square of the inputs, so that what hardly varies is not trusted


@contextlib.contextmanager
def rounded(model, samples):
    """Inside, kernels of ``model``'s ``Conv2D`` and ``Dense`` layers lie on the int8 grid; then all is as it was.

    Where layers of nested models share names, the converter rounds as it does.

    Args:
        model: a functional model.
        samples: list of lists of arrays, its inputs.
    """
    graph = open_graph(model)
    if not graph.distinct:
        yield
        return
    calls = [call for call in graph.calls if type(call.layer) in (layers.Conv2D, layers.Dense)]
    calls = [call for call in calls if getattr(call.layer, "groups", 1) == 1]
    before = [call.layer.get_weights() for call in calls]
    try:
        for call, (kernel, *rest), products in zip(calls, before, _products(graph, calls, samples), strict=True):
            call.layer.set_weights([round_kernel(kernel, products), *rest])
        yield
    finally:
        for call, weights in zip(calls, before, strict=True):
            call.layer.set_weights(weights)


def round_kernel(kernel, products):
    """A kernel on its own int8 grid, whose largest weight per output channel stays, and with it the grid.

    Args:
        kernel: float array ``(..., outputs)``, ``d`` weights for each output.
        products: float array ``(d, d)``, sums of the products of each two inputs.

    Returns:
        float32 array of the kernel's shape, multiples of its largest weight over 127.
    """
    weights = kernel.reshape(len(products), -1).astype("float64")
    step = np.maximum(np.abs(weights).max(0), np.finfo("float32").tiny) / _STEPS
    largest, left = np.abs(weights).argmax(0), weights.copy()
    damped = products + (_DAMPING * np.mean(np.diag(products)) + 1e-12) * np.eye(len(products))
    compensation = np.linalg.cholesky(np.linalg.inv(damped)).T
    for i, row in enumerate(compensation):
        wanted = np.where(largest == i, weights[i], left[i])
        taken = np.clip(np.rint(wanted / step), -_STEPS, _STEPS) * step
        left[i + 1 :] -= row[i + 1 :, None] * (left[i] - taken) / row[i]
        left[i] = taken
    return left.reshape(kernel.shape).astype("float32")


def _products(graph, calls, samples):
    """For each call, the sums over ``samples`` of the products of each two of its inputs, ``(d, d)``."""
    import tensorflow as tf

    sources = keras.Model(list(graph.inputs), [call.inputs[0] for call in calls])

    @tf.function
    def of_sample(tensors):
        seen = [_rows(call.layer, x) for call, x in zip(calls, sources(tensors, training=False), strict=True)]
        return [ops.matmul(ops.transpose(rows), rows) for rows in seen]

    found = (of_sample([tf.constant(a) for a in arrays]) for arrays in samples)
    return [sum(np.asarray(products, "float64") for products in each) for each in zip(*found, strict=True)]


def _rows(layer, x):
    """What the kernel is multiplied with, a row for each place."""
    if isinstance(layer, layers.Conv2D):
        x = ops.image.extract_patches(x, layer.kernel_size, layer.strides, layer.dilation_rate, layer.padding)
    rows = ops.reshape(x, (-1, x.shape[-1]))
    return rows[:: -(-rows.shape[0] // _ROWS)]
