"""The calls of a functional model, and the symbolic tensors that pass between them.

Keras compares symbolic tensors by identity, so that they serve as keys of dicts and members of sets.
"""

import collections.abc
import dataclasses
import difflib
import functools
import typing

import keras
from keras import tree

from keras_moe.types import Tensor

# Symbolic tensor -> what stands for it elsewhere: a value, or a symbolic tensor of another model.
TensorValues: typing.TypeAlias = dict[keras.KerasTensor, Tensor]
Function: typing.TypeAlias = collections.abc.Callable[..., typing.Any]


@dataclasses.dataclass(frozen=True)
class Call:
    """One layer (or operation) applied once: ``outputs = layer(*args, **kwargs)``, on symbolic tensors.

    ``name`` is the layer's, made distinct where layers of nested models share one.

    Example:
        >>> x = keras.Input((8, 8, 3))
        >>> (call,) = graph.open_graph(keras.Model(x, keras.layers.Flatten(name="pixels")(x))).calls
        >>> call.name, call.inputs[0].shape, call.outputs.shape
        ('pixels', (None, 8, 8, 3), (None, 192))
    """

    name: str
    layer: keras.Operation
    args: tuple[typing.Any, ...]
    kwargs: dict[str, typing.Any]
    outputs: typing.Any

    @functools.cached_property
    def inputs(self) -> list[keras.KerasTensor]:
        """Symbolic tensors among the arguments.

        Example:
            >>> x, y = keras.Input((2,)), keras.Input((2,))
            >>> (call,) = graph.open_graph(keras.Model([x, y], keras.layers.Add()([x, y]))).calls
            >>> len(call.inputs)
            2
        """
        return [t for t in tree.flatten((self.args, self.kwargs)) if isinstance(t, keras.KerasTensor)]

    @functools.cached_property
    def results(self) -> list[keras.KerasTensor]:
        """Symbolic tensors among the outputs.

        Example:
            >>> x = keras.Input((2,))
            >>> (call,) = graph.open_graph(keras.Model(x, keras.layers.Dense(3)(x))).calls
            >>> [tensor.shape for tensor in call.results]
            [(None, 3)]
        """
        return [t for t in tree.flatten(self.outputs) if isinstance(t, keras.KerasTensor)]


Copy: typing.TypeAlias = collections.abc.Callable[[Call], Function]


@dataclasses.dataclass(frozen=True)
class Graph:
    """The computation of a functional model: ``calls`` in order, from ``inputs`` to ``output``.

    Args:
        name: the model's.
        inputs: symbolic tensors.
        calls: each after those whose results it takes.
        output: a symbolic tensor, or a structure of them.

    Example:
        >>> x = keras.Input((4,))
        >>> hidden = keras.layers.Dense(3, name="hidden")(x)
        >>> small = graph.open_graph(keras.Model(x, keras.layers.Dense(2, name="logits")(hidden)))
        >>> [small.calls[i].name for i in small.cuts()]
        ['hidden', 'logits']
        >>> values = small.run([keras.ops.zeros((5, 4))])
        >>> tuple(values[small.output].shape)
        (5, 2)
    """

    name: str
    inputs: tuple[keras.KerasTensor, ...]
    calls: tuple[Call, ...]
    output: typing.Any

    @property
    def distinct(self) -> bool:
        """Whether no two layers share a name of their own: only then will Keras make one model of them.

        Example:
            >>> x = keras.Input((2,))
            >>> graph.open_graph(keras.Model(x, keras.layers.Dense(3)(x))).distinct
            True
        """
        names = {call.layer: call.layer.name for call in self.calls}
        return len(set(names.values())) == len(names)

    def run(self, tensors: collections.abc.Sequence[Tensor], copy: Copy | None = None) -> TensorValues:
        """The value of each symbolic tensor at inference for the inputs ``tensors``: dict, symbolic tensor -> value.

        Args:
            tensors: one for each input.
            copy: see ``replay``.

        Example:
            >>> x = keras.Input((2,))
            >>> small = graph.open_graph(keras.Model(x, keras.layers.Rescaling(10.0)(x)))
            >>> values = small.run([np.array([[1.0, 2.0]])])
            >>> keras.ops.convert_to_numpy(values[small.output])
            array([[10., 20.]], dtype=float32)
        """

        def at_inference(call: Call) -> Function:
            layer: Function = copy(call) if copy else call.layer
            if "training" not in call.kwargs:
                return layer
            # Whatever the model was made with: so does Keras when the model is called with ``training=False``.
            return lambda *args, **kwargs: layer(*args, **{**kwargs, "training": False})

        values = dict(zip(self.inputs, tensors, strict=True))
        replay(self.calls, values, at_inference)
        return values

    def index(self, name: str) -> int:
        """Position of the last call of the layer ``name``.

        Raises:
            ValueError: no such layer; it suggests the nearest names.

        Example:
            >>> x = keras.Input((2,))
            >>> small = graph.open_graph(keras.Model(x, keras.layers.Dense(3, name="logits")(x)))
            >>> small.index("logits")
            0
            >>> small.index("logit")
            Traceback (most recent call last):
            ...
            ValueError: No layer is called 'logit'. The nearest names are ['logits'].
        """
        positions = [i for i, call in enumerate(self.calls) if call.name == name]
        if positions:
            return positions[-1]
        names = [call.name for call in self.calls]
        near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.3) or names
        raise ValueError(f"No layer is called {name!r}. The nearest names are {near}.")

    def cuts(self) -> list[int]:
        """Positions after which a single tensor, that call's own, is all that the rest needs.

        Example:
            >>> x = keras.Input((2,))
            >>> hidden = keras.layers.Dense(2)(x)
            >>> small = graph.open_graph(keras.Model(x, keras.layers.Add()([x, hidden])))
            >>> small.cuts()  # after the first call the rest needs its input, too
            [1]
        """
        needed, positions = set(tree.flatten(self.output)), []
        for i, call in reversed(list(enumerate(self.calls))):
            if needed == set(call.results) and len(call.results) == 1:
                positions.append(i)
            needed = (needed - set(call.results)) | set(call.inputs)
        return positions[::-1]

    def until(self, output: typing.Any, through: collections.abc.Callable[[Call], bool] = lambda call: True) -> "Graph":
        """The part that leads to ``output``, a symbolic tensor or a structure of them.

        Args:
            output: what the part gives.
            through: which calls belong to it; others end it, and it does not have what leads to them.

        Example:
            >>> x = keras.Input((2,))
            >>> hidden = keras.layers.Dense(3, name="hidden")(x)
            >>> small = graph.open_graph(keras.Model(x, keras.layers.Dense(1, name="logits")(hidden)))
            >>> [call.name for call in small.until(small.calls[0].outputs).calls]
            ['hidden']
        """
        needed, calls = set(tree.flatten(output)), []
        for call in reversed(self.calls):
            if needed.intersection(call.results) and through(call):
                calls.append(call)
                needed.update(call.inputs)
        return Graph(self.name, self.inputs, tuple(reversed(calls)), output)


def replay(calls: collections.abc.Iterable[Call], tensors: TensorValues, copy: Copy | None = None) -> None:
    """Repeats ``calls`` on other tensors.

    Args:
        calls: in order.
        tensors: the tensor to use for each symbolic tensor of the calls. What the calls return is added to it.
        copy: ``Call -> layer`` to call; the call's own by default.

    Example:
        >>> x = keras.Input((2,))
        >>> small = graph.open_graph(keras.Model(x, keras.layers.Dense(3)(x)))
        >>> other = keras.Input((2,), batch_size=1)
        >>> tensors = {small.inputs[0]: other}
        >>> graph.replay(small.calls, tensors)
        >>> tensors[small.output].shape
        (1, 3)
    """
    for call in calls:
        args, kwargs = replaced((call.args, call.kwargs), tensors)
        outputs = (copy(call) if copy else call.layer)(*args, **kwargs)
        for old, new in zip(tree.flatten(call.outputs), tree.flatten(outputs), strict=True):
            if isinstance(old, keras.KerasTensor):
                tensors[old] = new


def replaced(structure: typing.Any, tensors: TensorValues) -> typing.Any:
    """A copy of a structure in which the symbolic tensors that are keys of ``tensors`` are replaced.

    Example:
        >>> a, b = keras.Input((1,)), keras.Input((2,))
        >>> copy = graph.replaced({"first": a, "second": 3}, {a: b})
        >>> copy["first"] is b, copy["second"]
        (True, 3)
    """
    return tree.map_structure(lambda t: tensors.get(t, t) if isinstance(t, keras.KerasTensor) else t, structure)
