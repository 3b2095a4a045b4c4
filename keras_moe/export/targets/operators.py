"""The operations of a LiteRT file one by one, and where each of them runs."""

import collections.abc
import dataclasses
import re

from keras_moe.export.flatbuffer import dtype, operation_name, parsed


@dataclasses.dataclass(frozen=True)
class Operator:
    """An operation of a LiteRT graph.

    Args:
        kind: its name, such as ``"CONV_2D"``.
        output: name of its first output tensor; empty without any.
        integer: whether that holds integers.
        place: where it runs.
        reason: why it does not run on the accelerator; empty where it does.
    """

    kind: str
    output: str
    integer: bool
    place: str = ""
    reason: str = ""


def operators(data: bytes) -> list[Operator]:
    """Those of the LiteRT model ``data``, all its graphs in turn; ``place`` is empty."""
    model = parsed(data)
    found = []
    for graph in model.subgraphs:
        for op in graph.operators or ():
            kind = operation_name(model, op.opcodeIndex)
            if len(op.outputs):
                tensor = graph.tensors[int(op.outputs[0])]
                found.append(Operator(kind, tensor.name.decode(), dtype(tensor) != "float32"))
            else:
                found.append(Operator(kind, "", False))
    return found


def layer(output: str, layers: collections.abc.Iterable[str]) -> str:
    """The one of ``layers`` that made the tensor ``output``, by its name; without any, the tensor's name.

    Example:
        >>> from keras_moe.export.targets.operators import layer
        >>> layer("functional_3_1/top_k_1/Sum", ["gate_pool", "top_k"])
        'top_k'
    """
    known = set(layers)
    for part in reversed(re.split(r"[/;]", output)):
        for name in (part, re.sub(r"_\d+$", "", part)):
            if name in known:
                return name
    return output
