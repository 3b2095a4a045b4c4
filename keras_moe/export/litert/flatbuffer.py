"""What a LiteRT file holds: its operations, its tensors at the border."""

import collections

import numpy as np


def parsed(data):
    """The LiteRT model ``data``, bytes, as an object that may be changed; see ``packed``."""
    from ai_edge_litert.tools import flatbuffer_utils

    # Its `read_model_from_bytearray` cannot read a branch without operations.
    return flatbuffer_utils.convert_bytearray_to_object(bytearray(data))


def packed(model):
    """The bytes of a ``parsed`` model."""
    from ai_edge_litert.tools import flatbuffer_utils

    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def operations(data):
    """Name -> how often it occurs, over all graphs of the LiteRT model ``data``, bytes."""
    model = parsed(data)
    names = [operation_name(model, i) for i in range(len(model.operatorCodes))]
    counts = collections.Counter(names[op.opcodeIndex] for graph in model.subgraphs for op in graph.operators or ())
    return dict(sorted(counts.items()))


def operation_name(model, index):
    """The name of the operation with the code ``index`` in a model that was read from a file."""
    from ai_edge_litert.tools import flatbuffer_utils

    custom = model.operatorCodes[index].customCode
    return f"CUSTOM:{custom.decode()}" if custom else flatbuffer_utils.opcode_to_name(model, index)


def tensors(data):
    """``"inputs"`` and ``"outputs"`` of the one signature: lists of name, shape, dtype, scale and zero point."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=data).get_signature_runner("serving_default")
    sides = {"inputs": runner.get_input_details(), "outputs": runner.get_output_details()}
    return {side: [_tensor(name, detail) for name, detail in found.items()] for side, found in sides.items()}


def outside_branches(data):
    """Names of the tensors of the main graph, which is all but the branches of ``IF``."""
    return [tensor.name.decode() for tensor in parsed(data).subgraphs[0].tensors]


def reading(data):
    """Names of the tensors made from the image, or a map of as many channels: its scaling, the first convolution."""
    model = parsed(data)
    main = model.subgraphs[0]
    channels = main.tensors[int(main.inputs[0])].shape[-1]
    found = []
    for graph in model.subgraphs:
        for op in graph.operators or ():
            shape = graph.tensors[int(op.inputs[0])].shape
            if np.size(shape) == 4 and shape[-1] == channels:
                found += [graph.tensors[int(t)].name.decode() for t in op.outputs]
    return found


def around_experts(data):
    """Names of the tensors that decide which experts run, and of those that put together what they return.

    The former are the vectors, not maps, that lead to the output ``"route"``: see ``pieces.Pieces``. The latter come of
    it: vectors, and what the experts return times its weight, be it a map, and the sum of that.
    """
    model = parsed(data)
    graph = model.subgraphs[0]
    route = {int(t.tensorIndex) for t in model.signatureDefs[0].outputs if t.name == b"route"}
    leading = set(route)
    for op in reversed(graph.operators):
        if any(int(t) in leading and _is_vector(graph, t) for t in op.outputs):
            leading |= {int(t) for t in op.inputs}
    made = {int(t) for op in graph.operators for t in op.outputs}
    deciding = [graph.tensors[t].name.decode() for t in sorted(leading & made) if _is_vector(graph, t)]
    return deciding + _coming_of(model, graph, route)


def _coming_of(model, graph, known):
    """Names of what comes of the tensors ``known``, indices in ``graph``, inside branches of ``IF`` too."""
    known, names = set(known), []
    for op in graph.operators or ():
        taken = [i for i, t in enumerate(op.inputs) if int(t) in known]
        if not taken:
            continue
        kind = operation_name(model, op.opcodeIndex)
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
