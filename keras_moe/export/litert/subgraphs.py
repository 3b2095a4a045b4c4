"""A model cut around its expert bank, with a batch of one: what runs always, what runs if chosen, what concludes."""

import dataclasses

import keras
from keras import tree

from keras_moe.graph import open_graph, replay
from keras_moe.layers import EarlyExit, ExpertBank, TopKGate

MAP = 4  # axes of a feature map: (1, height, width, channels)


@dataclasses.dataclass(frozen=True)
class Piece:
    """A functional model of one static graph.

    Args:
        name: ``"trunk"``, ``"router"``, ``"expert_0"``, …, ``"head"``, or ``"whole"``.
        inputs, outputs: names of its tensors, in the model's order.
        model: takes a list of tensors of batch 1, returns a list.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    model: keras.Model

    def __call__(self, tensors):
        """Runs it on a dict of tensors, of which it takes its own; returns a dict."""
        found = self.model([tensors[name] for name in self.inputs], training=False)
        return dict(zip(self.outputs, tree.flatten(found), strict=True))


@dataclasses.dataclass(frozen=True)
class Pieces:
    """A routed model: ``trunk``, ``router``, then the ``bank`` or each of ``experts``, then ``head``.

    The router begins where the last feature maps end, with the pooling and the small layers on vectors in front of the
    gate: they cost next to nothing, and what decides must be exact, so they stay apart from what an accelerator
    computes. Trunk and router together give ``"features"``, the ``"gate_logits"``, the ``"route"`` and whatever else
    the head needs. The head's first input is ``"combined"``, what the bank returned.
    """

    trunk: Piece
    router: Piece
    experts: tuple[Piece, ...]
    head: Piece
    bank: ExpertBank

    def __iter__(self):
        return iter((self.trunk, self.router, *self.experts, self.head))


def whole(model):
    """The ``Piece`` that is all of ``model``: ``images`` in, ``prediction`` out.

    Nested models are opened, so that each layer is seen, unless layers of two of them share a name.
    """
    graph = open_graph(model, [(1, *model.input_shape[1:])])
    inputs, output = list(graph.inputs), graph.output
    if not graph.distinct:
        output = model(inputs[0])
    return Piece("whole", ("images",), ("prediction",), keras.Model(inputs, [output]))


def cut(model):
    """The ``Pieces`` of a model with one expert bank.

    Args:
        model: a functional model of one image input and one output, with an ``ExpertBank`` that a ``TopKGate`` routes.

    Raises:
        ValueError: no bank, several, or no gate.
    """
    graph = open_graph(model, [(1, *model.input_shape[1:])])
    banks = [i for i, call in enumerate(graph.calls) if isinstance(call.layer, ExpertBank)]
    gates = [call for call in graph.calls if isinstance(call.layer, (TopKGate, EarlyExit))]
    if len(banks) != 1 or not gates:
        raise ValueError(
            f"Expected a model with one ExpertBank, routed by a TopKGate. Received: {model.name!r}, which has "
            f"{len(banks)} banks and {len(gates)} routing layers."
        )
    bank = graph.calls[banks[0]]
    features, route = bank.inputs
    deciding, concluding = _deciding(graph.calls, route), _downstream(graph.calls[banks[0] + 1 :], bank.outputs)
    for_router, for_head = _taken(deciding), _taken(concluding)
    names = {id(features): "features", id(gates[0].inputs[0]): "gate_logits"}
    names |= {id(route): "route", id(bank.outputs): "combined"}
    for tensor in (*for_router, *for_head):
        names.setdefault(id(tensor), f"side_{len(names) - 4}")

    shared = {names[id(t)]: t for t in (features, gates[0].inputs[0], *for_router, *for_head, route)}
    shared.pop("combined", None)
    decided = {id(t) for call in deciding for t in tree.flatten(call.outputs)}
    found = {name: t for name, t in shared.items() if id(t) not in decided}
    trunk = Piece("trunk", ("images",), tuple(found), keras.Model(list(graph.inputs), list(found.values())))
    rest = {name: t for name, t in shared.items() if id(t) in decided}
    router = _piece("router", deciding, for_router, rest, names)
    head = _piece("head", concluding, for_head, {"prediction": graph.output}, names)
    experts = tuple(_expert(k, expert, features.shape) for k, expert in enumerate(bank.layer.experts))
    return Pieces(trunk, router, experts, head, bank.layer)


def _piece(name, calls, sources, outputs, names):
    inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype) for t in sources]
    known = {id(t): new for t, new in zip(sources, inputs, strict=True)}
    replay(calls, known)
    model = keras.Model(inputs, [known[id(t)] for t in outputs.values()])
    return Piece(name, tuple(names[id(t)] for t in sources), tuple(outputs), model)


def _expert(k, expert, shape):
    features = keras.Input(batch_shape=shape)
    return Piece(f"expert_{k}", ("features",), ("output",), keras.Model([features], [expert(features)]))


def _deciding(calls, route):
    """The calls on vectors, not on maps, that end in ``route``."""
    needed, found = {id(route)}, []
    for call in reversed(calls):
        outputs = tree.flatten(call.outputs)
        if any(id(t) in needed for t in outputs) and all(len(t.shape) < MAP for t in outputs):
            found.append(call)
            needed |= {id(t) for t in call.inputs}
    return found[::-1]


def _downstream(calls, start):
    reached, found = {id(start)}, []
    for call in calls:
        if any(id(t) in reached for t in call.inputs):
            found.append(call)
            reached |= {id(t) for t in tree.flatten(call.outputs)}
    return found


def _taken(calls):
    """The tensors that ``calls`` take from elsewhere, in order."""
    own = {id(t) for call in calls for t in tree.flatten(call.outputs)}
    return list({id(t): t for call in calls for t in call.inputs if id(t) not in own}.values())
