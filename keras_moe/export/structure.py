"""What a LiteRT file holds: its operations, its tensors at the border."""

import collections

import numpy as np


def operations(data):
    """Name -> how often it occurs, over all graphs of the LiteRT model ``data``, bytes."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = _read(data)
    names = [_name(flatbuffer_utils, model, i) for i in range(len(model.operatorCodes))]
    counts = collections.Counter(names[op.opcodeIndex] for graph in model.subgraphs for op in graph.operators)
    return dict(sorted(counts.items()))


def tensors(data):
    """``"inputs"`` and ``"outputs"`` of the one signature: lists of name, shape, dtype, scale and zero point."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=data).get_signature_runner("serving_default")
    sides = {"inputs": runner.get_input_details(), "outputs": runner.get_output_details()}
    return {side: [_tensor(name, detail) for name, detail in found.items()] for side, found in sides.items()}


def outside_branches(data):
    """Names of the tensors of the main graph, which is all but the branches of ``IF``."""
    return [tensor.name.decode() for tensor in _read(data).subgraphs[0].tensors]


def reading(data):
    """Names of the tensors made from the image, or a map of as many channels: its scaling, the first convolution."""
    model = _read(data)
    main = model.subgraphs[0]
    channels = main.tensors[int(main.inputs[0])].shape[-1]
    found = []
    for graph in model.subgraphs:
        for op in graph.operators:
            shape = graph.tensors[int(op.inputs[0])].shape
            if np.size(shape) == 4 and shape[-1] == channels:
                found += [graph.tensors[int(t)].name.decode() for t in op.outputs]
    return found


def around_experts(data):
    """Names of the tensors that decide which experts run, and of those that put together what they return.

    The former are the vectors, not maps, that lead to the output ``"route"``: see ``pieces.Pieces``. The latter come of
    it: vectors, and what the experts return times its weight, be it a map, and the sum of that.
    """
    model = _read(data)
    graph = model.subgraphs[0]
    route = {int(t.tensorIndex) for t in model.signatureDefs[0].outputs if t.name == b"route"}
    leading = set(route)
    for op in reversed(graph.operators):
        if any(int(t) in leading and _is_vector(graph, t) for t in op.outputs):
            leading |= {int(t) for t in op.inputs}
    made = {int(t) for op in graph.operators for t in op.outputs}
    deciding = [graph.tensors[t].name.decode() for t in sorted(leading & made) if _is_vector(graph, t)]
    return deciding + _coming_of(model, graph, route)


def with_zeros(data, names):
    """The LiteRT model ``data``, bytes, with float zeros in the place of the inputs ``names``."""
    from ai_edge_litert.tools import flatbuffer_utils

    # Its `read_model_from_bytearray` cannot read a branch without operations.
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(data))
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    gone = {int(t.tensorIndex) for t in signature.inputs if t.name.decode() in names}
    for index in gone:
        tensor = graph.tensors[index]
        tensor.buffer = _new_buffer(model, np.zeros(tensor.shape, "float32").view("uint8").ravel())
    graph.inputs = [i for i in graph.inputs if int(i) not in gone]
    signature.inputs = [t for t in signature.inputs if int(t.tensorIndex) not in gone]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def with_floats(data, plain, kept):
    """The float16 LiteRT model ``data``, bytes, with constants of its main graph in float32, as they are in ``plain``.

    ``kept``: ``plain`` -> their names.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model, exact = (flatbuffer_utils.convert_bytearray_to_object(bytearray(d)) for d in (data, plain))
    graph, names = model.subgraphs[0], set(kept(plain))
    full = [(t, exact.buffers[t.buffer].data) for t in exact.subgraphs[0].tensors if t.name.decode() in names]
    rest = []
    for op in graph.operators:
        half, widened = (graph.tensors[int(side[0])] for side in (op.inputs, op.outputs))
        is_half = _name(flatbuffer_utils, model, op.opcodeIndex) == "DEQUANTIZE"
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
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


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


def _coming_of(model, graph, known):
    """Names of what comes of the tensors ``known``, indices in ``graph``, inside branches of ``IF`` too."""
    from ai_edge_litert.tools import flatbuffer_utils

    known, names = set(known), []
    for op in graph.operators or ():
        taken = [i for i, t in enumerate(op.inputs) if int(t) in known]
        if not taken:
            continue
        kind = _name(flatbuffer_utils, model, op.opcodeIndex)
        if kind == "IF":  # whose first input is the condition
            for index in (op.builtinOptions.thenSubgraphIndex, op.builtinOptions.elseSubgraphIndex):
                branch = model.subgraphs[index]
                names += _coming_of(model, branch, {int(branch.inputs[i - 1]) for i in taken if i})
        outputs = {int(t) for t in op.outputs if kind in ("IF", "MUL", "ADD") or _is_vector(graph, t)}
        known |= outputs
        names += [graph.tensors[t].name.decode() for t in outputs]
    return names


def _is_vector(graph, index):
    return np.size(graph.tensors[index].shape) < 4


def _read(data):
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(bytearray(data))


def _tensor(name, detail):
    scale, zero = detail["quantization"]
    shape = [int(size) for size in detail["shape"]]
    return {
        "name": name,
        "shape": shape,
        "dtype": detail["dtype"].__name__,
        "scale": float(scale),
        "zero_point": int(zero),
    }


def _name(utils, model, index):
    custom = model.operatorCodes[index].customCode
    return f"CUSTOM:{custom.decode()}" if custom else utils.opcode_to_name(model, index)
