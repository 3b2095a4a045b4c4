"""A model cut around its expert bank, with a batch of one: what runs always, what runs if chosen, what concludes.

The model is opened here, once: every stage of the export reads the ``Graph`` of its subgraph.
"""

import collections.abc
import dataclasses
import typing

import keras
from keras import tree

from keras_moe.graph import Call, Graph, open_graph, replay
from keras_moe.layers import EarlyExit, ExpertBank, TopKGate
from keras_moe.models import MoEModel
from keras_moe.types import Shape, Tensor

MAP = 4  # axes of a feature map: (1, height, width, channels)
Tensors: typing.TypeAlias = dict[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Subgraph:
    """A functional model of one static graph.

    Args:
        name: ``"trunk"``, ``"router"``, ``"expert_0"``, …, ``"head"``, or ``"whole"``.
        inputs, outputs: names of its tensors, in the model's order.
        model: takes a list of tensors of batch 1, returns a list.
        graph: what the model computes, nested models opened; its layers are the model's.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    model: keras.Model
    graph: Graph

    def __call__(self, tensors: Tensors) -> Tensors:
        """Runs it on a dict of tensors, of which it takes its own; returns a dict."""
        results = self.model([tensors[name] for name in self.inputs], training=False)
        return dict(zip(self.outputs, tree.flatten(results), strict=True))


@dataclasses.dataclass(frozen=True)
class Subgraphs:
    """A routed model: ``trunk``, ``router``, then the ``bank`` or each of ``experts``, then ``head``.

    The router begins where the last feature maps were pooled, with the small layers on vectors in front of the gate:
    they cost next to nothing, and what decides must be exact, so they stay apart from what an accelerator computes.
    Trunk and router together give ``"features"``, the ``"gate_logits"``, the ``"route"`` and whatever else
    the head needs. The head's first input is ``"combined"``, what the bank returned.
    """

    trunk: Subgraph
    router: Subgraph
    experts: tuple[Subgraph, ...]
    head: Subgraph
    bank: ExpertBank
    graph: Graph  # of the whole model

    def __iter__(self) -> collections.abc.Iterator[Subgraph]:
        return iter((self.trunk, self.router, *self.experts, self.head))

    def decide(self, tensors: Tensors) -> Tensors:
        """What trunk and router give of ``"images"``: the route, and what experts and head need."""
        of_trunk = self.trunk(tensors)
        return {**of_trunk, **self.router(of_trunk)}


def whole(model: MoEModel) -> Subgraph:
    """The ``Subgraph`` that is all of ``model``: ``images`` in, ``prediction`` out.

    Its layers are seen one by one, those of nested models too, unless layers of two of them share a name.
    """
    graph = _opened(model)
    output = graph.output if graph.distinct else model(graph.inputs[0])
    return Subgraph("whole", ("images",), ("prediction",), keras.Model(list(graph.inputs), [output]), graph)


def cut(model: MoEModel) -> Subgraphs:
    """The ``Subgraphs`` of a model with one expert bank.

    Args:
        model: a functional model of one image input and one output, with an ``ExpertBank`` that a ``TopKGate`` routes.

    Raises:
        ValueError: no bank, several, or no gate.
    """
    graph = _opened(model)
    at, gate = _bank_and_gate(graph)
    bank, logits = graph.calls[at], gate.inputs[0]
    features, route = bank.inputs
    deciding = graph.until(route, through=_is_of_vectors).calls
    concluding = _dependent_on(bank.outputs, graph.calls[at + 1 :])
    for_router, for_head = _inputs_of(deciding), _inputs_of(concluding)
    names = {features: "features", logits: "gate_logits", route: "route", bank.outputs: "combined"}
    for tensor in (*for_router, *for_head):
        names.setdefault(tensor, f"side_{len(names) - 4}")

    shared = {names[t]: t for t in (features, logits, *for_router, *for_head, route)}
    shared.pop("combined", None)
    decided = {t for call in deciding for t in call.results}
    before = {name: t for name, t in shared.items() if t not in decided}
    after = {name: t for name, t in shared.items() if t in decided}
    trunk = _trunk(graph, before)
    router = _subgraph("router", deciding, for_router, after, names)
    head = _subgraph("head", concluding, for_head, {"prediction": graph.output}, names)
    experts = _experts(bank.layer, features.shape)
    return Subgraphs(trunk, router, experts, head, bank.layer, graph)


def _opened(model: MoEModel) -> Graph:
    return open_graph(model, [(1, *model.input_shape[1:])])


def _bank_and_gate(graph: Graph) -> tuple[int, Call]:
    """The position of the call of the one bank, and the call of the gate that routes it."""
    banks = [i for i, call in enumerate(graph.calls) if isinstance(call.layer, ExpertBank)]
    gates = [call for call in graph.calls if isinstance(call.layer, (TopKGate, EarlyExit))]
    if len(banks) != 1 or not gates:
        raise ValueError(
            f"Expected a model with one ExpertBank, routed by a TopKGate. Received: {graph.name!r}, which has "
            f"{len(banks)} banks and {len(gates)} routing layers."
        )
    return banks[0], gates[0]


def _trunk(graph: Graph, outputs: dict[str, keras.KerasTensor]) -> Subgraph:
    part = graph.until(list(outputs.values()))
    return Subgraph("trunk", ("images",), tuple(outputs), keras.Model(list(graph.inputs), part.output), part)


def _subgraph(
    name: str,
    calls: tuple[Call, ...],
    sources: list[keras.KerasTensor],
    outputs: dict[str, keras.KerasTensor],
    names: dict[keras.KerasTensor, str],
) -> Subgraph:
    inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype) for t in sources]
    tensors = dict(zip(sources, inputs, strict=True))
    replay(calls, tensors)
    model = keras.Model(inputs, [tensors[t] for t in outputs.values()])
    graph = Graph(name, tuple(sources), calls, list(outputs.values()))
    return Subgraph(name, tuple(names[t] for t in sources), tuple(outputs), model, graph)


def _experts(bank: ExpertBank, shape: Shape) -> tuple[Subgraph, ...]:
    def alone(expert: keras.Layer) -> keras.Model:
        features = keras.Input(batch_shape=shape)
        return keras.Model([features], [expert(features)])

    models = [alone(expert) for expert in bank.experts]
    return tuple(Subgraph(f"expert_{k}", ("features",), ("output",), m, open_graph(m)) for k, m in enumerate(models))


def _is_of_vectors(call: Call) -> bool:
    return all(len(t.shape) < MAP for t in (*call.inputs, *call.results))


def _dependent_on(tensor: keras.KerasTensor, calls: tuple[Call, ...]) -> tuple[Call, ...]:
    """Those of ``calls`` that ``tensor`` leads to."""
    reached, dependent = {tensor}, []
    for call in calls:
        if reached.intersection(call.inputs):
            dependent.append(call)
            reached.update(call.results)
    return tuple(dependent)


def _inputs_of(calls: tuple[Call, ...]) -> list[keras.KerasTensor]:
    """The tensors that ``calls`` take from elsewhere, in order."""
    internal = {t for call in calls for t in call.results}
    return list(dict.fromkeys(t for call in calls for t in call.inputs if t not in internal))
