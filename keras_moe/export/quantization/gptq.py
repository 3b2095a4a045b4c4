"""Kernels rounded to the int8 grid so that a layer's outputs change least, rather than its weights.

Each weight rounded to the nearest step is off by up to half of one, and over inputs that vary together, as neighbouring
pixels do, these errors add up. Here the errors of the weights rounded so far are made up for by the others, on the
inputs that the layer really sees: optimal brain quantization (Frantar and Alistarh, NeurIPS 2022) in the fixed order of
GPTQ (ICLR 2023). Runs on the TensorFlow backend only.
"""

import collections.abc
import contextlib

import keras
import numpy as np
from keras import layers, ops

from keras_moe.export.quantization.restored_weights import kernel_alone, weights_kept
from keras_moe.graph import Call, Graph
from keras_moe.layer_state import set_weights
from keras_moe.types import Array, Tensor

_STEPS = 127  # of a kernel's largest weight per output channel: the grid that the converter will find
_PER_WEIGHT = 16  # rows of inputs, over all samples, for each weight of a kernel for an output
_LEAST, _MOST = 32, 1024  # rows of one sample: places of its map, drawn once
_TOGETHER = 16  # samples whose products are summed at once
_KINDS = (layers.Conv2D, layers.Conv2DTranspose, layers.Dense)
_DAMPING = 1e-2  # of the mean square of the inputs, so that what hardly varies is not trusted


@contextlib.contextmanager
def rounded(graph: Graph, samples: list[list[Array]]) -> collections.abc.Iterator[None]:
    """Rounds kernels to the int8 grid inside the context; they come back at its end.

    Those of ``Conv2D``, ``Conv2DTranspose`` and ``Dense`` are rounded.

    Args:
        graph: of a functional model.
        samples: list of lists of arrays, its inputs.
    """
    calls = [call for call in graph.calls if _is_plain(call.layer)]
    with weights_kept(call.layer for call in calls):
        before = [call.layer.get_weights() for call in calls]
        for call, (kernel, *rest), products in zip(calls, before, _products(graph, calls, samples), strict=True):
            set_weights(call.layer, [_round(call.layer, kernel, products), *rest])
        yield


def _is_plain(layer: keras.Operation) -> bool:
    dilated = isinstance(layer, layers.Conv2DTranspose) and layer.dilation_rate != (1, 1)
    return type(layer) in _KINDS and getattr(layer, "groups", 1) == 1 and not dilated and kernel_alone(layer)


def round_kernel(kernel: Array, products: Array, step: Array | None = None) -> Array:
    """A kernel on its int8 grid. Its largest weight per output channel stays, and with it the grid.

    Args:
        kernel: float array ``(..., outputs)``, ``d`` weights for each output.
        products: float array ``(d, d)``, sums of the products of each two inputs.
        step: float array ``(outputs,)``, of the grid, where the kernel is a part of one; None: its largest weight per
            output over 127.

    Returns:
        float32 array of the kernel's shape, multiples of the step.
    """
    weights = kernel.reshape(len(products), -1).astype("float64")
    step = np.abs(weights).max(0) / _STEPS if step is None else step
    step = np.maximum(step, np.finfo("float32").tiny)
    stays, remaining = np.abs(weights) > (_STEPS - 1e-3) * step, weights.copy()
    damped = products + (_DAMPING * np.mean(np.diag(products)) + 1e-12) * np.eye(len(products))
    compensation = np.linalg.cholesky(np.linalg.inv(damped)).T
    for i, row in enumerate(compensation):
        exact = np.where(stays[i], weights[i], remaining[i])
        on_grid = np.clip(np.rint(exact / step), -_STEPS, _STEPS) * step
        remaining[i + 1 :] -= row[i + 1 :, None] * (remaining[i] - on_grid) / row[i]
        remaining[i] = on_grid
    return remaining.reshape(kernel.shape).astype("float32")


def _round(layer: keras.Layer, kernel: Array, products: Array) -> Array:
    if isinstance(layer, layers.Conv2DTranspose):
        return _round_transposed(kernel, products, layer.strides)
    return round_kernel(kernel, products)


def _round_transposed(kernel: Array, products: Array, strides: tuple[int, int]) -> Array:
    """A kernel ``(h, w, outputs, inputs)``, of which each output pixel sees every ``strides``-th weight."""
    step, on_grid = np.abs(kernel).max((0, 1, 3)).astype("float64") / _STEPS, np.empty_like(kernel)
    places = np.arange(len(products)).reshape(*_reach(kernel.shape, strides), -1)
    for y, x in np.ndindex(*strides):
        part = np.s_[y :: strides[0], x :: strides[1]]
        taps = kernel[part][::-1, ::-1].swapaxes(2, 3)  # the first weight meets the last pixel
        if not taps.size:
            continue
        positions = places[-taps.shape[0] :, -taps.shape[1] :].ravel()
        on_grid[part] = round_kernel(taps, products[np.ix_(positions, positions)], step).swapaxes(2, 3)[::-1, ::-1]
    return on_grid


def _reach(size: tuple[int, ...], strides: tuple[int, int]) -> tuple[int, ...]:
    """How many input pixels, down and across, an output pixel of a transposed convolution sees at most."""
    return tuple(-(-of // stride) for of, stride in zip(size, strides, strict=False))


def _products(graph: Graph, calls: list[Call], samples: list[list[Array]]) -> list[Array]:
    """For each call, the sums over ``samples`` of the products of each two of its inputs, ``(d, d)``."""
    import tensorflow as tf

    def of_sample(tensors: list[Tensor]) -> list[Tensor]:
        values = graph.run(tensors)
        return [_rows(call.layer, values[call.inputs[0]], len(samples)) for call in calls]

    run = tf.function(of_sample, autograph=False)
    sums: list[Array] = []
    for start in range(0, len(samples), _TOGETHER):
        of_samples = [run([tf.constant(a) for a in arrays]) for arrays in samples[start : start + _TOGETHER]]
        rows = [np.concatenate(each) for each in zip(*of_samples, strict=True)]
        new = [(each.T @ each).astype("float64") for each in rows]
        sums = [a + b for a, b in zip(sums, new, strict=True)] if sums else new
    return sums


def _rows(layer: keras.Layer, x: Tensor, samples: int) -> Tensor:
    """What the kernel is multiplied with in one of ``samples``, a row for each place, or for some of them."""
    if isinstance(layer, layers.Conv2D):
        cut = layer.kernel_size, layer.strides, layer.dilation_rate, layer.padding
        x = ops.image.extract_patches(x, *cut, data_format="channels_last")
    if isinstance(layer, layers.Conv2DTranspose):
        reach = _reach(layer.kernel_size, layer.strides)
        x = ops.image.extract_patches(x, reach, padding="same", data_format="channels_last")
    rows = ops.reshape(x, (-1, x.shape[-1]))
    most = min(_MOST, max(_LEAST, -(-_PER_WEIGHT * rows.shape[1] // samples)))
    if rows.shape[0] <= most:
        return rows
    # Not every n-th: where n divides the map's width these would all be in one column.
    places = np.random.default_rng(0).choice(rows.shape[0], most, replace=False)
    return ops.take(rows, np.sort(places), axis=0)
