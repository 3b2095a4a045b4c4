"""Layers on PyTorch without Python between their kernels.

For a few rows Keras' own work around each layer costs more than the layer; benchmarks/dispatch.py and
benchmarks/backbones.py measure the rest of it.
"""

import collections.abc
import functools
import threading
import types
import typing
import warnings

import keras
import torch

from keras_moe.layers.changes import MadeOf, telling
from keras_moe.types import Tensor

Function: typing.TypeAlias = collections.abc.Callable[..., typing.Any]

_CALLS = 10  # a trace takes as long as some tens of calls on one image, which may be all there are
_SHAPES = 16  # traces of one layer that are kept
_KNOWN = ("keras", "keras_moe")
# What calls functions of a user by values.
_DECIDING = {"Lambda", "Cond", "Switch", "WhileLoop", "ForiLoop", "Map", "VectorizedMap", "Scan", "AssociativeScan"}
# One thread traces at a time, because a trace sets aside Python's filters of warnings, which all threads share. The
# lock is reentrant: an expert may hold a bank of its own, which is traced within.
_TRACING = threading.RLock()
# PyTorch declares no types for these.
_JIT: typing.Any = torch.jit
_C: typing.Any = torch._C


class Traces(MadeOf):
    """Traces of a layer in its present state: dict, shapes of rows, dtypes and devices -> trace, or calls until it."""

    def __init__(self) -> None:
        super().__init__(lambda layer: {})


def is_recording() -> bool:
    """Whether a trace or an export is being recorded, which would fix the decisions of Python."""
    return bool(_JIT.is_tracing()) or torch.compiler.is_exporting()


def _is_special(inputs: tuple[Tensor, ...]) -> bool:
    """Whether a trace of this call would not serve other calls, or could not be checked."""
    is_autocast = torch.is_autocast_enabled(inputs[0].device.type)
    return bool(is_autocast or torch.compiler.is_compiling() or is_recording() or not len(inputs[0]))


def is_known(layer: keras.Operation) -> bool:
    """Whether it is made of Keras' layers and this package's: in those of others Python may decide from values."""
    inner = list(layer._flatten_layers()) if isinstance(layer, keras.Layer) else [layer]
    return all(_is_ours(each) and type(each).__name__ not in _DECIDING and _calls_ours(each) for each in inner)


def _calls_ours(layer: keras.Operation) -> bool:
    """Whether what it was given to call, such as an activation, is Keras' or this package's, too."""
    return all(_is_ours(value) for value in telling(layer).values() if callable(value))


def _is_ours(value: typing.Any) -> bool:
    if isinstance(value, functools.partial):
        return _is_ours(value.func)
    made = value if isinstance(value, types.FunctionType | types.MethodType) else type(value)
    return str(made.__module__).split(".")[0] in _KNOWN


class Traced:
    """A layer that runs as a trace at inference, once it was called a few times on rows of one shape.

    Gradients, training, compilation, autocast and calls without rows use the layer itself. A trace takes the values of
    the layer's variables, so that new weights take effect at once. Other changes of the layer cause a new trace. One
    that disagrees with the layer on another number of rows is not used, and layers that are not known have none.

    Args:
        layer: a layer of one or more tensors and ``training``, to a tensor or a list of them.
        traces: its ``Traces``, which outlive this object; None: new ones.
    """

    def __init__(self, layer: keras.Layer, traces: Traces | None = None) -> None:
        self.layer = layer
        self.traces = traces or Traces()

    def __call__(self, *inputs: Tensor, training: bool = False) -> typing.Any:
        if training or torch.is_grad_enabled() or _is_special(inputs):
            return self.layer(*inputs, training=training)
        traces = self.traces(self.layer)
        key = tuple((tuple(x.shape[1:]), x.dtype, x.device) for x in inputs)
        trace = traces.get(key, 0)
        if isinstance(trace, int):
            trace = self._trace_after(trace + 1, key, traces, inputs)
        return trace(*inputs)

    def compute_output_spec(self, x: Tensor) -> keras.KerasTensor:
        return self.layer.compute_output_spec(x)

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        variables: list[keras.Variable] = self.layer.trainable_variables
        return variables

    def _trace_after(
        self, calls: int, key: typing.Any, traces: dict[typing.Any, typing.Any], inputs: tuple[Tensor, ...]
    ) -> Function:
        if len(traces) > _SHAPES:
            traces.clear()
        if calls < _CALLS:
            traces[key] = calls
            return self._as_it_is
        with _TRACING:
            trace: Function | int = traces.get(key, 0)
            if isinstance(trace, int):
                trace = traces[key] = self._trace(inputs)
            return trace

    def _as_it_is(self, *inputs: Tensor) -> typing.Any:
        return self.layer(*inputs, training=False)

    def _trace(self, inputs: tuple[Tensor, ...]) -> Function:
        if not is_known(self.layer):
            return self._as_it_is
        more = [torch.cat([x, x[:1]]) for x in inputs]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of sizes that become constants, which other rows show
                trace = Trace(self.layer, inputs)
            pairs = zip(keras.tree.flatten(trace(*more)), keras.tree.flatten(self._as_it_is(*more)), strict=True)
            agrees = all(a.shape == b.shape and torch.allclose(a, b, 1e-4, 1e-5, equal_nan=True) for a, b in pairs)
        except (RuntimeError, ValueError, TypeError, AttributeError):
            return self._as_it_is
        return trace if agrees else self._as_it_is


class Trace:
    """The operations of a layer on rows like ``inputs``, recorded once; see ``Traced``.

    It holds them itself: what ``torch.jit.trace`` records is kept for as long as the process lives.
    """

    def __init__(self, layer: keras.Layer, inputs: tuple[Tensor, ...]) -> None:
        self.layer, self.variables = layer, layer.variables
        stateless = functools.partial(self._stateless, len(inputs))
        graph, _ = _JIT._get_trace_graph(stateless, (*inputs, *self._values()), _force_outplace=False)
        self.run = _C._create_function_from_graph(type(layer).__name__, graph)

    def __call__(self, *inputs: Tensor) -> typing.Any:
        return self.run(*inputs, *self._values())

    def _values(self) -> list[Tensor]:
        return [variable.value for variable in self.variables]

    def _stateless(self, count: int, *tensors: Tensor) -> typing.Any:
        with keras.StatelessScope(zip(self.variables, tensors[count:], strict=True)):
            return self.layer(*tensors[:count], training=False)
