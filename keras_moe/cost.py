"""Multiply-accumulates (MACs), counted layer by layer.

Convention: convolutions and matrix products count, element-wise work (activations, BatchNorm, pooling, softmax, the
weighted sum) does not, as in the papers' tables. One MAC is two floating-point operations.
"""

import collections.abc
import functools
import math
import typing

import keras
from keras import layers

from keras_moe.channels_last import check_layer
from keras_moe.graph import open_graph
from keras_moe.layers import EfficientAttention, ExpertBank, PatchWise
from keras_moe.types import Shape


def macs(layer: keras.Layer, *input_shapes: Shape) -> int:
    """MACs of one image through ``layer`` (a layer or a functional model), every expert of a bank included.

    Args:
        layer: a built layer or functional model.
        input_shapes: its input shape or shapes, batch axis first, spatial sizes known: ``(None, 32, 32, 3)``.

    Returns:
        int.

    Raises:
        ValueError: an unknown spatial size, or a layer with a kernel whose cost this module does not know.

    Example:
        A kernel of 3x3 from 3 to 8 channels at 4x4 positions.

        >>> network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(8, 3, padding="same")])
        >>> cost.macs(network, (None, 4, 4, 3)), 3 * 3 * 3 * 8 * 4 * 4
        (3456, 3456)
    """
    if any(size is None for shape in input_shapes for size in shape[1:]):
        raise ValueError(f"macs: every size but the batch must be known. Received: input shapes {input_shapes}")
    return int(_count(layer, *input_shapes))


# Products of two inputs: they hold no kernel, but they cost. Of ``keras.ops`` and of ``keras.layers``.
_PRODUCTS = {
    "Matmul", "Einsum", "Dot", "Tensordot", "Inner", "Vdot", "Vecdot",
    "Conv", "DepthwiseConv", "SeparableConv", "ConvTranspose",
    "Attention", "AdditiveAttention", "DotProductAttention",
}  # fmt: skip


@functools.singledispatch
def _count(layer: typing.Any, *input_shapes: Shape) -> int:
    kernels = [w.path for w in getattr(layer, "weights", ()) if len(w.shape) > 1]
    if kernels or type(layer).__name__ in _PRODUCTS:
        raise ValueError(f"macs: no rule for {type(layer).__name__} {layer.name!r}, which holds kernels {kernels}")
    return 0


@_count.register
def _(layer: keras.Model, *input_shapes: Shape) -> int:
    calls = open_graph(layer, input_shapes).calls
    return sum(_count(call.layer, *(t.shape for t in call.inputs)) for call in calls)


@_count.register
def _(layer: ExpertBank, features_shape: Shape, routing_weights_shape: Shape) -> int:
    return sum(_count(expert, features_shape) for expert in layer.experts)


@_count.register
def _(layer: PatchWise, shape: Shape) -> int:
    return layer.patches(shape) * _count(layer.network, (None, layer.crop, layer.crop, shape[-1]))


@_count.register
def _(layer: EfficientAttention, shape: Shape) -> int:
    queries, channels = int(shape[1] * shape[2]), int(shape[3])
    keys = queries // layer.reduction**2
    applied = [(layer.query, queries), (layer.projection, queries), (layer.key_value, keys), (layer.reducer, keys)]
    kernels = sum(times * _product(part.kernel.shape) for part, times in applied if part is not None)
    return kernels + 2 * queries * keys * channels  # the scores, and the values mixed by them


@_count.register(layers.Conv1D)
@_count.register(layers.Conv2D)
@_count.register(layers.Conv3D)
@_count.register(layers.DepthwiseConv1D)
@_count.register(layers.DepthwiseConv2D)
def _(layer: typing.Any, shape: Shape) -> int:
    check_layer(f"{layer.name!r}", layer)
    # (..., inputs per group, filters) for a convolution, (..., inputs, multiplier) for a depthwise one: either way
    # the kernel is applied once at every output position.
    return _product(layer.compute_output_shape(shape)[1:-1]) * _product(layer.kernel.shape)


@_count.register
def _(layer: layers.Conv2DTranspose, shape: Shape) -> int:
    check_layer(f"{layer.name!r}", layer)
    return _product(shape[1:-1]) * _product(layer.kernel.shape)


@_count.register
def _(layer: layers.SeparableConv2D, shape: Shape) -> int:
    check_layer(f"{layer.name!r}", layer)
    positions = _product(layer.compute_output_shape(shape)[1:-1])
    return positions * (_product(layer.depthwise_kernel.shape) + _product(layer.pointwise_kernel.shape))


@_count.register
def _(layer: layers.Dense, shape: Shape) -> int:
    return _product(shape[1:-1]) * _product(layer.kernel.shape)


@_count.register(layers.Embedding)  # a look-up
@_count.register(layers.LayerNormalization)  # element by element, as are the next two
@_count.register(layers.Normalization)
@_count.register(layers.PReLU)
def _(layer: typing.Any, shape: Shape) -> int:
    return 0


def flops_as_classsr(layer: keras.Layer, *input_shapes: Shape) -> int:
    """FLOPs of one image as ClassSR (CVPR 2021) prints them: 2 x MACs, a transposed convolution counted at its output.

    That is ``stride ** 2`` times what a transposed convolution really costs; for a comparison with the paper's tables
    only. Arguments and errors are those of ``macs``.

    Example:
        A transposed convolution of stride 2: 4x4x1x1 at 8x8 positions instead of 4x4, and each MAC counted as 2.

        >>> enlarge = keras.layers.Conv2DTranspose(1, 4, strides=2, padding="same")
        >>> network = keras.Sequential([keras.Input((4, 4, 1)), enlarge])
        >>> cost.macs(network, (None, 4, 4, 1)), cost.flops_as_classsr(network, (None, 4, 4, 1))
        (256, 2048)
    """
    transposed = [
        (call.layer, *(t.shape for t in call.inputs))
        for call in open_graph(layer, input_shapes).calls
        if isinstance(call.layer, layers.Conv2DTranspose)
    ]
    really = sum(_count(*call) for call in transposed)
    at_output = sum(_count(*call) * _product(call[0].strides) for call in transposed)
    return 2 * (macs(layer, *input_shapes) - really + at_output)


def _product(sizes: collections.abc.Iterable[typing.Any]) -> int:
    return int(math.prod(sizes))
