"""From a model to its ``Graph``, by way of the public hook of ``clone_model``."""

import collections.abc
import functools
import inspect
import os
import typing

import keras
from keras import tree

from keras_moe.graph.calls import Call, Function, Graph, replaced, replay
from keras_moe.types import Shape, Tensor


def open_graph(model: keras.Model, shapes: collections.abc.Sequence[Shape] | None = None) -> Graph:
    """The ``Graph`` of a functional or ``Sequential`` model, its nested models opened too.

    Args:
        model: a built model.
        shapes: its input shapes, batch axis first; None: as it was made for.

    Raises:
        ValueError: anything else, such as a subclassed model, a file or a class; it says what to do.

    Example:
        >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="hidden")], name="inner")
        >>> x = keras.Input((4,))
        >>> model = keras.Model(x, keras.layers.Dense(2, name="logits")(inner(x)))
        >>> [call.name for call in graph.open_graph(model).calls]
        ['hidden', 'logits']
    """
    if not is_functional(model):
        raise ValueError(f"Expected a functional or Sequential Keras model. Received: {_instead(model)}")
    outer, calls = outer_graph(model), _Calls()
    inputs = [
        keras.Input(batch_shape=shape, dtype=t.dtype, name=t.name)
        for shape, t in zip(shapes or [t.shape for t in model.inputs], model.inputs, strict=True)
    ]
    values = dict(zip(outer.inputs, inputs, strict=True))
    replay(outer.calls, values, calls.opened)
    return Graph(model.name, tuple(inputs), tuple(calls.made), replaced(outer.output, values))


class _Calls:
    """The calls that a model and the models inside it make, in one list: ``made``."""

    def __init__(self) -> None:
        self.made: list[Call] = []
        self._names: dict[str, keras.Operation] = {}

    def opened(self, call: Call) -> Function:
        """The function to call in place of the layer of ``call``, which records its calls."""
        if is_functional(call.layer):
            return lambda inputs, training=None, **_: self._inline(call.layer, _flat(call.layer, inputs), training)
        return lambda *args, **kwargs: self._note(call.name, call.layer, args, kwargs)

    def _inline(self, nested: keras.Model, tensors: list[Tensor], training: bool | None) -> typing.Any:
        read = [self._as_read(t, own.dtype, nested.name) for t, own in zip(tensors, nested.inputs, strict=True)]
        inner = open_graph(nested, [t.shape for t in read])
        values = dict(zip(inner.inputs, read, strict=True))

        def again(call: Call) -> Function:
            takes = training is not None and "training" in inspect.signature(call.layer.call).parameters
            mode = {"training": training} if takes else {}
            return lambda *args, **kwargs: self._note(call.name, call.layer, args, {**kwargs, **mode}, nested.name)

        replay(inner.calls, values, again)
        return replaced(inner.output, values)

    def _as_read(self, tensor: Tensor, dtype: str, parent: str) -> Tensor:
        """``tensor`` as the nested model ``parent`` reads it, cast to the ``dtype`` of its input."""
        if tensor.dtype == dtype:
            return tensor
        given = keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype)
        cast = outer_graph(keras.Model(given, keras.ops.cast(given, dtype)))
        values = dict(zip(cast.inputs, [tensor], strict=True))
        replay(cast.calls, values, lambda call: lambda *a, **k: self._note(call.name, call.layer, a, k, parent))
        return replaced(cast.output, values)

    def _note(
        self,
        name: str,
        layer: keras.Operation,
        args: tuple[typing.Any, ...],
        kwargs: dict[str, typing.Any],
        parent: str | None = None,
    ) -> typing.Any:
        outputs = layer(*args, **kwargs)
        self.made.append(Call(self._distinct(name, layer, parent), layer, args, kwargs, outputs))
        return outputs

    def _distinct(self, name: str, layer: keras.Operation, parent: str | None) -> str:
        """The layer's name; with its model's in front while another layer has it."""
        while self._names.setdefault(name, layer) is not layer:
            name = f"{parent}_{name}"
        return name


def _flat(nested: keras.Model, given: typing.Any) -> list[Tensor]:
    """The tensors of a call of ``nested`` in the order of its inputs: a dict tells them by name."""
    if isinstance(given, dict) and not isinstance(nested.input, dict):
        given = [given[t.name] for t in nested.inputs]
    tensors: list[Tensor] = tree.flatten(given)
    return tensors


def outer_graph(model: keras.Model) -> Graph:
    """The ``Graph`` of ``model`` itself, nested models left closed.

    Example:
        >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="inner")
        >>> x = keras.Input((4,))
        >>> [call.name for call in graph.outer_graph(keras.Model(x, inner(x))).calls]
        ['inner']
    """
    inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name) for t in model.inputs]
    calls: list[Call] = []

    def note(layer: keras.Operation, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        outputs = layer(*args, **kwargs)
        calls.append(Call(layer.name, layer, args, kwargs, outputs))
        return outputs

    plain = keras.Model(model.inputs, model.outputs)  # shares the layers, has no class and no config of its own
    clone = keras.models.clone_model(plain, inputs, clone_function=lambda layer: layer, call_function=note)
    output = clone.outputs[0] if len(clone.outputs) == 1 else clone.outputs
    return Graph(model.name, tuple(inputs), tuple(calls), output)


def is_functional(layer: typing.Any) -> bool:
    """Whether ``layer`` is a functional or built ``Sequential`` model, without a ``call`` of its own.

    Example:
        >>> x = keras.Input((4,))
        >>> graph.is_functional(keras.Model(x, keras.layers.Dense(3)(x))), graph.is_functional(keras.layers.Dense(3))
        (True, False)
    """
    if not isinstance(layer, keras.Model) or not getattr(layer, "inputs", None):
        return False
    return type(layer).call in (keras.Sequential.call, _functional_class().call)


def _instead(model: typing.Any) -> str:
    """Why ``model`` cannot be opened, and the remedy."""
    if isinstance(model, (str, os.PathLike)):
        return f"the path {os.fspath(model)!r}; load it first: `keras.models.load_model({os.fspath(model)!r})`"
    if callable(model) and hasattr(model, "__name__"):
        return f"{model.__name__}, which makes one; call it and give what it returns"
    kind = f"{type(model).__module__}.{type(model).__name__}"
    if not isinstance(model, keras.Model):
        return f"an object of {kind}; build the network of Keras layers, with `keras.Input` and `keras.Model`"
    if isinstance(model, keras.Sequential):
        return f"{model.name!r}, whose input is not known yet; begin it with `keras.Input(shape)`"
    return f"{kind} {model.name!r}, whose graph Keras does not know; build it with `keras.Input` and `keras.Model`"


@functools.cache
def _functional_class() -> type[keras.Model]:
    inputs = keras.Input((1,))
    return type(keras.Model(inputs, inputs))
