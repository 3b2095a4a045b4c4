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


def routing(data):
    """Names of the tensors of vectors, not maps, that lead to the output ``"route"``: see ``pieces.Pieces``."""
    model = _read(data)
    graph = model.subgraphs[0]
    makers = {int(t): op for op in graph.operators for t in op.outputs}
    left = [t.tensorIndex for t in model.signatureDefs[0].outputs if t.name == b"route"]
    found: dict[int, str] = {}
    while left:
        index = int(left.pop())
        tensor = graph.tensors[index]
        if index in makers and index not in found and np.size(tensor.shape) < 4:
            found[index] = tensor.name.decode()
            left += list(makers[index].inputs)
    return list(found.values())


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
