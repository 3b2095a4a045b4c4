"""Constants written into a LiteRT file after its conversion."""

import collections.abc
import typing

import numpy as np

from keras_moe.export.flatbuffer import new_buffer, operation_name, packed, parsed
from keras_moe.types import Array


def with_zeros(data: bytes, names: collections.abc.Collection[str]) -> bytes:
    """The LiteRT model ``data`` with float zeros in the place of the inputs ``names``."""
    model = parsed(data)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    indices = {int(t.tensorIndex) for t in signature.inputs if t.name.decode() in names}
    for index in indices:
        tensor = graph.tensors[index]
        tensor.buffer = new_buffer(model, np.zeros(tensor.shape, "float32").view("uint8").ravel())
    graph.inputs = [i for i in graph.inputs if int(i) not in indices]
    signature.inputs = [t for t in signature.inputs if int(t.tensorIndex) not in indices]
    return packed(model)


def with_floats(data: bytes, plain: bytes, float_tensors: collections.abc.Callable[[bytes], list[str]]) -> bytes:
    """The float16 LiteRT model ``data`` with constants of its main graph in float32, as they are in ``plain``.

    ``float_tensors``: ``plain`` -> their names.
    """
    model, exact = parsed(data), parsed(plain)
    graph, names = model.subgraphs[0], set(float_tensors(plain))
    full = [(t, exact.buffers[t.buffer].data) for t in exact.subgraphs[0].tensors if t.name.decode() in names]
    rest = []
    for op in graph.operators:
        half, widened = (graph.tensors[int(side[0])] for side in (op.inputs, op.outputs))
        is_half = operation_name(model, op.opcodeIndex) == "DEQUANTIZE"
        value = _before_rounding(half, model.buffers[half.buffer].data, full) if is_half else None
        if value is None:
            rest.append(op)
        else:
            widened.buffer = new_buffer(model, value)
            half.buffer = 0  # the empty one, by the format's convention
    graph.operators = rest
    used = {t.buffer for g in model.subgraphs for t in g.tensors} | {m.buffer for m in model.metadata or ()}
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data = None
    return packed(model)


def _before_rounding(half: typing.Any, value: Array, full: list[tuple[typing.Any, Array]]) -> Array | None:
    """The data of the tensor among ``full`` that in float16 is ``half``, whose data is ``value``; None without any.

    The converter does not give the same name to everything in both models, but scalars are too much alike without it.
    """
    alike = [(t.name == half.name, d) for t, d in full if list(t.shape) == list(half.shape) and _rounds_to(d, value)]
    alike.sort(key=lambda pair: not pair[0])
    return alike[0][1] if alike and (alike[0][0] or np.size(half.shape)) else None


def _rounds_to(full: Array | None, half: Array) -> bool:
    """Whether ``full``, bytes of float32, are ``half``, bytes of float16, once rounded."""
    if full is None or len(full) != 2 * len(half):
        return False
    most = np.finfo("float16").max
    rounded = np.clip(full.view("float32"), -most, most).astype("float16")
    return np.array_equal(rounded, half.view("float16"), equal_nan=True)
