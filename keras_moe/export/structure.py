"""What a LiteRT file holds: its operations, its tensors at the border."""

import collections


def operations(data):
    """Name -> how often it occurs, over all graphs of the LiteRT model ``data``, bytes."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
    names = [_name(flatbuffer_utils, model, i) for i in range(len(model.operatorCodes))]
    counts = collections.Counter(names[op.opcodeIndex] for graph in model.subgraphs for op in graph.operators)
    return dict(sorted(counts.items()))


def tensors(data):
    """``"inputs"`` and ``"outputs"`` of the one signature: lists of name, shape, dtype, scale and zero point."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=data).get_signature_runner("serving_default")
    sides = {"inputs": runner.get_input_details(), "outputs": runner.get_output_details()}
    return {side: [_tensor(name, detail) for name, detail in found.items()] for side, found in sides.items()}


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
