"""The tensors of a quantized file that stay in float: names, found in the same model converted in float."""

import typing

import numpy as np

from keras_moe.export.flatbuffer import Parsed, operation_name, parsed
from keras_moe.export.litert.subgraphs import MAP


def outside_branches(data: bytes) -> list[str]:
    """Names of the tensors of the main graph, which is all but the branches of ``IF``."""
    return [tensor.name.decode() for tensor in parsed(data).subgraphs[0].tensors]


def reading(data: bytes) -> list[str]:
    """Names of the tensors made from the image, or a map of as many channels: its scaling, the first convolution."""
    model = parsed(data)
    main = model.subgraphs[0]
    channels = main.tensors[int(main.inputs[0])].shape[-1]
    tensor_names = []
    for graph in model.subgraphs:
        for op in graph.operators or ():
            shape = graph.tensors[int(op.inputs[0])].shape
            if np.size(shape) == MAP and shape[-1] == channels:
                tensor_names += [graph.tensors[int(t)].name.decode() for t in op.outputs]
    return tensor_names


def around_experts(data: bytes) -> list[str]:
    """Names of the tensors that decide which experts run, and of those that combine what the experts return.

    The former are the vectors, not maps, that lead to the output ``"route"``: see ``subgraphs.Subgraphs``. The latter
    come of it: vectors, and what the experts return times its weight, be it a map, and the sum of that.
    """
    model = parsed(data)
    graph = model.subgraphs[0]
    route = {int(t.tensorIndex) for t in model.signatureDefs[0].outputs if t.name == b"route"}
    leading = set(route)
    for op in reversed(graph.operators):
        if any(int(t) in leading and _is_vector(graph, t) for t in op.outputs):
            leading |= {int(t) for t in op.inputs}
    computed = {int(t) for op in graph.operators for t in op.outputs}
    deciding = [graph.tensors[t].name.decode() for t in sorted(leading & computed) if _is_vector(graph, t)]
    return deciding + _dependent_on(model, graph, route)


def _dependent_on(model: Parsed, graph: typing.Any, sources: set[int]) -> list[str]:
    """Names of the tensors that depend on ``sources``, indices in ``graph``, inside branches of ``IF`` too."""
    reached, names = set(sources), []
    for op in graph.operators or ():
        positions = [i for i, t in enumerate(op.inputs) if int(t) in reached]
        if not positions:
            continue
        kind = operation_name(model, op.opcodeIndex)
        if kind == "IF":  # whose first input is the condition
            for index in (op.builtinOptions.thenSubgraphIndex, op.builtinOptions.elseSubgraphIndex):
                branch = model.subgraphs[index]
                names += _dependent_on(model, branch, {int(branch.inputs[i - 1]) for i in positions if i})
        outputs = {int(t) for t in op.outputs if kind in ("IF", "MUL", "ADD") or _is_vector(graph, t)}
        reached |= outputs
        names += [graph.tensors[t].name.decode() for t in outputs]
    return names


def _is_vector(graph: typing.Any, index: int) -> bool:
    return bool(np.size(graph.tensors[index].shape) < MAP)
