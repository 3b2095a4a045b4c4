"""Reading and editing of LiteRT files: operations, tensors, buffers."""

import collections
import typing

from keras_moe.types import Array

Parsed: typing.TypeAlias = typing.Any  # ``ModelT`` of the package's generated code, which has no types


def parsed(data: bytes) -> Parsed:
    """The LiteRT model ``data`` as an object that may be changed; see ``packed``."""
    from ai_edge_litert.tools import flatbuffer_utils

    # Its `read_model_from_bytearray` cannot read a branch without operations.
    return flatbuffer_utils.convert_bytearray_to_object(bytearray(data))


def packed(model: Parsed) -> bytes:
    """The bytes of a ``parsed`` model."""
    from ai_edge_litert.tools import flatbuffer_utils

    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def new_buffer(model: Parsed, data: Array) -> int:
    """The index of a new buffer of ``model`` that holds ``data``, a uint8 array."""
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.BufferT()
    buffer.data = data
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def operations(data: bytes) -> dict[str, int]:
    """Name -> how often it occurs, over all graphs of the LiteRT model ``data``."""
    model = parsed(data)
    names = [operation_name(model, i) for i in range(len(model.operatorCodes))]
    counts = collections.Counter(names[op.opcodeIndex] for graph in model.subgraphs for op in graph.operators or ())
    return dict(sorted(counts.items()))


def operation_name(model: Parsed, index: int) -> str:
    """The name of the operation with the code ``index`` in a model that was read from a file."""
    from ai_edge_litert.tools import flatbuffer_utils

    custom = model.operatorCodes[index].customCode
    return f"CUSTOM:{custom.decode()}" if custom else str(flatbuffer_utils.opcode_to_name(model, index))


def tensors(data: bytes) -> dict[str, list[dict[str, typing.Any]]]:
    """``"inputs"`` and ``"outputs"`` of the one signature: lists of name, shape, dtype, scale and zero point.

    In the order of the main graph, which interpreters without names go by.
    """
    model = parsed(data)
    graph, (signature,) = model.subgraphs[0], model.signatureDefs
    sides = {"inputs": (graph.inputs, signature.inputs), "outputs": (graph.outputs, signature.outputs)}
    return {side: _in_order(graph, indices, named) for side, (indices, named) in sides.items()}


def dtype(tensor: typing.Any) -> str:
    """The type of a parsed tensor by NumPy's name, such as ``"float32"``."""
    from ai_edge_litert import schema_py_generated as schema

    numpy_name: str = next(name.lower() for name, value in vars(schema.TensorType).items() if value == tensor.type)
    return numpy_name


def _in_order(graph: typing.Any, indices: typing.Any, named: typing.Any) -> list[dict[str, typing.Any]]:
    names = {int(t.tensorIndex): t.name.decode() for t in named}
    return [_tensor(names[int(index)], graph.tensors[int(index)]) for index in indices]


def _tensor(name: str, tensor: typing.Any) -> dict[str, typing.Any]:
    steps = tensor.quantization
    is_quantized = steps is not None and steps.scale is not None and len(steps.scale)
    return {
        "name": name,
        "shape": [int(size) for size in tensor.shape],
        "dtype": dtype(tensor),
        "scale": float(steps.scale[0]) if is_quantized else 0.0,
        "zero_point": int(steps.zeroPoint[0]) if is_quantized else 0,
    }
