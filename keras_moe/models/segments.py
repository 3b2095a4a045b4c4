"""Inference on PyTorch in segments: runs of layers that go as traces, and between them what decides from values."""

import functools
import typing

import keras

from keras_moe.graph import Graph, outer_graph, replay
from keras_moe.graph.calls import Call
from keras_moe.layers import ExpertBank
from keras_moe.layers.torch_traces import Traced, is_known
from keras_moe.types import Tensor


class Segment(keras.Layer):
    """Calls in a row, as one layer from the tensors that they take to those that others take of them."""

    def __init__(self, calls: list[Call], needed: set[keras.KerasTensor]) -> None:
        super().__init__(autocast=False)
        made = [tensor for call in calls for tensor in call.results]
        taken = dict.fromkeys(tensor for call in calls for tensor in call.inputs)
        self.takes = [tensor for tensor in taken if tensor not in made]
        self.gives = [tensor for tensor in made if tensor in needed]
        self.inner_layers = [call.layer for call in calls if isinstance(call.layer, keras.Layer)]
        self.graph = Graph(self.name, tuple(self.takes), tuple(calls), self.gives)
        self.built = True

    def call(self, *inputs: Tensor, training: bool = False) -> list[Tensor]:
        values = self.graph.run(inputs)
        return [values[tensor] for tensor in self.gives]


class SegmentedModel:
    """A functional model at inference on PyTorch.

    Banks, and layers that are not of Keras or of this package, are called as they are.

    Args:
        model: a functional model, with one output or a structure of them.
    """

    def __init__(self, model: keras.Model) -> None:
        graph = outer_graph(model)
        self.inputs, self.outputs = graph.inputs, keras.tree.flatten(graph.output)
        self.steps = list(_steps(graph))

    def __call__(self, inputs: list[Tensor]) -> list[Tensor]:
        """The outputs, in the order of ``model.outputs``."""
        values = dict(zip(self.inputs, inputs, strict=True))
        for step in self.steps:
            if isinstance(step, Call):
                replay([step], values, _at_inference)
            else:
                found = keras.tree.flatten(step(*(values[tensor] for tensor in step.layer.takes)))
                values.update(zip(step.layer.gives, found, strict=True))
        return [values[tensor] for tensor in self.outputs]


def _at_inference(call: Call) -> typing.Callable[..., typing.Any]:
    """The call as ``predict`` makes it: some layers of Keras train, and have what is in them train, unless told."""
    told = getattr(call.layer, "_call_has_training_arg", False)
    return functools.partial(call.layer, training=False) if told else call.layer


def _steps(graph: Graph) -> typing.Iterator[Call | Traced]:
    """Each call that is made as it is, and the segments between them."""
    waiting: list[Call] = []
    for i, call in enumerate(graph.calls):
        if _is_fixed(call.layer):
            waiting.append(call)
            continue
        yield from _segment(waiting, graph, i)
        yield call
        waiting = []
    yield from _segment(waiting, graph, len(graph.calls))


def _segment(calls: list[Call], graph: Graph, end: int) -> typing.Iterator[Traced]:
    if calls:
        later = {tensor for call in graph.calls[end:] for tensor in call.inputs}
        yield Traced(Segment(calls, later | set(keras.tree.flatten(graph.output))))


def _is_fixed(layer: keras.Operation) -> bool:
    """Whether the layer makes the same operations of all values."""
    inner = layer._flatten_layers() if isinstance(layer, keras.Layer) else ()
    return is_known(layer) and not any(isinstance(each, ExpertBank) for each in inner)
