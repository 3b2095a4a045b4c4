"""Constants of a LiteRT file, put there after it was converted."""

import numpy as np

from keras_moe.export.litert.flatbuffer import operation_name, packed, parsed


def with_zeros(data, names):
    """The LiteRT model ``data``, bytes, with float zeros in the place of the inputs ``names``."""
    model = parsed(data)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    gone = {int(t.tensorIndex) for t in signature.inputs if t.name.decode() in names}
    for index in gone:
        tensor = graph.tensors[index]
        tensor.buffer = _new_buffer(model, np.zeros(tensor.shape, "float32").view("uint8").ravel())
    graph.inputs = [i for i in graph.inputs if int(i) not in gone]
    signature.inputs = [t for t in signature.inputs if int(t.tensorIndex) not in gone]
    return packed(model)


def with_floats(data, plain, kept):
    """The float16 LiteRT model ``data``, bytes, with constants of its main graph in float32, as they are in ``plain``.

    ``kept``: ``plain`` -> their names.
    """
    model, exact = parsed(data), parsed(plain)
    graph, names = model.subgraphs[0], set(kept(plain))
    full = [(t, exact.buffers[t.buffer].data) for t in exact.subgraphs[0].tensors if t.name.decode() in names]
    rest = []
    for op in graph.operators:
        half, widened = (graph.tensors[int(side[0])] for side in (op.inputs, op.outputs))
        is_half = operation_name(model, op.opcodeIndex) == "DEQUANTIZE"
        value = _before_rounding(half, model.buffers[half.buffer].data, full) if is_half else None
        if value is None:
            rest.append(op)
        else:
            widened.buffer = _new_buffer(model, value)
            half.buffer = 0  # the empty one, by the format's convention
    graph.operators = rest
    used = {t.buffer for g in model.subgraphs for t in g.tensors} | {m.buffer for m in model.metadata or ()}
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data = None
    return packed(model)


def _before_rounding(half, value, full):
    """The data of the tensor among ``full`` that in float16 is ``half``, whose data is ``value``; None without any.

    The converter does not give the same name to everything in both models, but scalars are too much alike without it.
    """
    alike = [(t.name == half.name, d) for t, d in full if list(t.shape) == list(half.shape) and _rounds_to(d, value)]
    alike.sort(key=lambda pair: not pair[0])
    return alike[0][1] if alike and (alike[0][0] or np.size(half.shape)) else None


def _rounds_to(full, half):
    """Whether ``full``, bytes of float32, are ``half``, bytes of float16, once rounded."""
    if full is None or len(full) != 2 * len(half):
        return False
    most = np.finfo("float16").max
    rounded = np.clip(full.view("float32"), -most, most).astype("float16")
    return np.array_equal(rounded, half.view("float16"), equal_nan=True)


def _new_buffer(model, data):
    """The index of a new buffer that holds ``data``, a uint8 array."""
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.BufferT()
    buffer.data = data
    model.buffers.append(buffer)
    return len(model.buffers) - 1
