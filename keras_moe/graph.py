"""Functional models taken apart: the calls they make, where they may be cut, pieces rebuilt from copied layers."""

import dataclasses
import difflib
import functools
import inspect
import os
import typing

import keras
from keras import tree

from keras_moe.channels_last import check_same_formats
from keras_moe.layer_state import copy_assets
from keras_moe.settings import copy_state


@dataclasses.dataclass(frozen=True)
class Call:
    """One layer (or operation) applied once: ``outputs = layer(*args, **kwargs)``, on symbolic tensors.

    ``name`` is the layer's, made distinct where layers of nested models share one.
    """

    name: str
    layer: keras.Operation
    args: tuple
    kwargs: dict
    outputs: typing.Any

    @property
    def inputs(self):
        """Symbolic tensors among the arguments."""
        return [t for t in tree.flatten((self.args, self.kwargs)) if isinstance(t, keras.KerasTensor)]


@dataclasses.dataclass(frozen=True)
class Graph:
    """What a functional model computes: ``calls`` in order, from ``inputs`` to ``output``."""

    inputs: tuple
    calls: tuple[Call, ...]
    output: typing.Any

    @property
    def distinct(self):
        """Whether no two layers share a name of their own: only then will Keras make one model of them."""
        own = {id(call.layer): call.layer.name for call in self.calls}
        return len(set(own.values())) == len(own)

    def run(self, tensors, copy=lambda call: call.layer):
        """Dict, id of each symbolic tensor -> its value where the inputs are ``tensors``, a list; at inference.

        ``copy``: see ``replay``.
        """

        def at_inference(call):
            layer = copy(call)
            if "training" not in call.kwargs:
                return layer
            # Whatever the model was made with: so does Keras when the model is called with ``training=False``.
            return lambda *args, **kwargs: layer(*args, **{**kwargs, "training": False})

        known = {id(symbolic): tensor for symbolic, tensor in zip(self.inputs, tensors, strict=True)}
        replay(self.calls, known, at_inference)
        return known

    def index(self, name):
        """Position of the last call of the layer ``name``.

        Raises:
            ValueError: no such layer; it suggests the nearest names.
        """
        found = [i for i, call in enumerate(self.calls) if call.name == name]
        if found:
            return found[-1]
        names = [call.name for call in self.calls]
        near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.3) or names
        raise ValueError(f"No layer is called {name!r}. The nearest names are {near}.")

    def cuts(self):
        """Positions after which a single tensor, that call's own, is all that the rest needs."""
        needed, positions = {id(self.output)}, []
        for i in range(len(self.calls) - 1, -1, -1):
            outputs = [id(t) for t in tree.flatten(self.calls[i].outputs)]
            if needed == set(outputs) and len(outputs) == 1:
                positions.append(i)
            needed -= set(outputs)
            needed |= {id(t) for t in self.calls[i].inputs}
        return positions[::-1]


def open_graph(model, shapes=None):
    """The ``Graph`` of a functional or ``Sequential`` model, its nested models opened too.

    Args:
        model: a built model.
        shapes: its input shapes, batch axis first; None: as it was made for.

    Raises:
        ValueError: anything else, such as a subclassed model, a file or a class; it says what to do.
    """
    if not is_functional(model):
        raise ValueError(f"Expected a functional or Sequential Keras model. Received: {_instead(model)}")
    outer = outer_graph(model)
    inputs = [
        keras.Input(batch_shape=shape, dtype=t.dtype, name=t.name)
        for shape, t in zip(shapes or [t.shape for t in model.inputs], model.inputs, strict=True)
    ]
    known = {id(t): new for t, new in zip(outer.inputs, inputs, strict=True)}
    calls: list[Call] = []
    names: dict[str, keras.Operation] = {}

    def run(call):
        if is_functional(call.layer):
            return lambda *args, **kwargs: inline(call.layer, tree.flatten(args), kwargs.get("training"))
        return lambda *args, **kwargs: record(call.name, call.layer, args, kwargs)

    def inline(nested, tensors, training):
        inner = open_graph(nested, [t.shape for t in tensors])
        passed = {id(own): new for own, new in zip(inner.inputs, tensors, strict=True)}

        def again(call):
            takes = training is not None and "training" in inspect.signature(call.layer.call).parameters
            mode = {"training": training} if takes else {}
            return lambda *args, **kwargs: record(call.name, call.layer, args, {**kwargs, **mode}, nested.name)

        replay(inner.calls, passed, again)
        return tree.map_structure(lambda t: passed[id(t)], inner.output)

    def record(name, layer, args, kwargs, parent=None):
        outputs = layer(*args, **kwargs)
        calls.append(Call(_distinct(names, name, layer, parent), layer, args, kwargs, outputs))
        return outputs

    replay(outer.calls, known, run)
    return Graph(tuple(inputs), tuple(calls), tree.map_structure(lambda t: known[id(t)], outer.output))


def _instead(model):
    """What ``model``, which cannot be opened, is, and how to come by one that can."""
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


def outer_graph(model):
    """The ``Graph`` of ``model`` itself, nested models left closed, by way of the public hook of ``clone_model``."""
    inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name) for t in model.inputs]
    calls: list[Call] = []

    def note(layer, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        calls.append(Call(layer.name, layer, args, kwargs, outputs))
        return outputs

    plain = keras.Model(model.inputs, model.outputs)  # shares the layers, has no class and no config of its own
    clone = keras.models.clone_model(plain, inputs, clone_function=lambda layer: layer, call_function=note)
    return Graph(tuple(inputs), tuple(calls), clone.outputs[0] if len(clone.outputs) == 1 else clone.outputs)


def is_functional(layer):
    """Whether ``layer`` is a functional or built ``Sequential`` model, without a ``call`` of its own."""
    if not isinstance(layer, keras.Model) or not getattr(layer, "inputs", None):
        return False
    return type(layer).call in (keras.Sequential.call, _functional_class().call)


def replay(calls, known, copy=lambda call: call.layer):
    """Makes ``calls`` again on other tensors.

    Args:
        calls: list of ``Call``.
        known: dict, id of a tensor of the calls -> the tensor to use for it. What the calls return is added to it.
        copy: ``Call -> layer`` to call; the call's own by default.
    """
    for call in calls:
        args, kwargs = tree.map_structure(lambda t: known.get(id(t), t), (call.args, call.kwargs))
        outputs = copy(call)(*args, **kwargs)
        for old, new in zip(tree.flatten(call.outputs), tree.flatten(outputs), strict=True):
            known[id(old)] = new


def rebuild(calls, source, outputs, name, prefix=""):
    """A model made of copies of the calls' layers, weights included.

    Args:
        calls: list of ``Call``.
        source: the symbolic tensor it starts from.
        outputs: the symbolic tensors, or one, that it returns.
        name: of the model.
        prefix: of the names of the copied layers.
    """
    copies: dict[int, keras.Operation] = {}

    def copy(call):
        if id(call.layer) not in copies:
            copies[id(call.layer)] = _copy(call.layer, prefix + call.name)
        return copies[id(call.layer)]

    inputs = keras.Input(batch_shape=source.shape, dtype=source.dtype)
    known = {id(source): inputs}
    replay(calls, known, copy)
    for call in calls:
        check_same_formats(call.layer, copies[id(call.layer)])
    model = keras.Model(inputs, tree.map_structure(lambda t: known[id(t)], outputs), name=name)
    for layer in {id(call.layer): call.layer for call in calls}.values():
        if isinstance(layer, keras.Layer):
            copy_state(layer, copies[id(layer)])
    return model


def _distinct(names, name, layer, parent):
    """The layer's name; with its model's in front while another layer has it."""
    while names.setdefault(name, layer) is not layer:
        name = f"{parent}_{name}"
    return name


def _copy(layer, name):
    if not isinstance(layer, keras.Layer):
        return layer  # an operation, such as ops.add: it holds nothing
    copied = type(layer).from_config({**layer.get_config(), "name": name})
    copy_assets(layer, copied)  # a lookup tells its output's shape by its vocabulary
    return copied


@functools.cache
def _functional_class():
    inputs = keras.Input((1,))
    return type(keras.Model(inputs, inputs))
