"""Experts on PyTorch without Python between their kernels.

For an expert with a few rows Keras' own work around each layer costs more than the layer; benchmarks/dispatch.py
measures the rest of it.
"""

import collections.abc
import functools
import itertools
import threading
import typing
import warnings

import keras
import torch
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx

from keras_moe.layers.changes import MadeOf
from keras_moe.types import Tensor

# One thread traces at a time, because a trace sets aside Python's filters of warnings, which all threads share. The
# lock is reentrant: an expert may hold a bank of its own, which is traced within.
_TRACING = threading.RLock()
_JIT: typing.Any = torch.jit  # PyTorch declares no types for it
Sizes: typing.TypeAlias = typing.Literal["real", "symbolic"]


class Traces(MadeOf):
    """The traces of an expert in its present state: dict, shape of its rows, their dtype and device -> trace."""

    def __init__(self) -> None:
        super().__init__(lambda expert: {})


def is_recording() -> bool:
    """Whether a trace or an export is being recorded, which would fix the decisions of Python."""
    return bool(_JIT.is_tracing()) or torch.compiler.is_exporting() or get_proxy_mode() is not None


class Traced:
    """An expert that is traced once for each shape of its rows and runs as that trace at inference.

    Gradients, training and compilation use the expert itself. A trace takes the values of the expert's variables, so
    that new weights take effect at once. Other changes of the expert cause a new trace. A trace that disagrees with the
    expert on another number of rows is not used.

    Args:
        expert: a layer.
        traces: its ``Traces``, which outlive this object; None: new ones.
    """

    def __init__(self, expert: keras.Layer, traces: Traces | None = None) -> None:
        self.expert = expert
        self.traces = traces or Traces()

    def __call__(self, x: Tensor, training: bool = False) -> Tensor:
        if training or torch.is_grad_enabled() or torch.compiler.is_compiling() or is_recording():
            return self.expert(x, training=training)
        traces, key = self.traces(self.expert), (tuple(x.shape[1:]), x.dtype, x.device)
        if key not in traces:
            with _TRACING:
                if key not in traces:
                    traces[key] = _trace(self.expert, x)
        return traces[key](x)

    def compute_output_spec(self, x: Tensor) -> keras.KerasTensor:
        return self.expert.compute_output_spec(x)

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        variables: list[keras.Variable] = self.expert.trainable_variables
        return variables


class Trace:
    """The operations of an expert on rows like ``x``, recorded once; see ``Traced``.

    ``torch.jit.trace`` would keep what it recorded for as long as the process lives.
    """

    def __init__(self, expert: keras.Layer, x: Tensor, sizes: Sizes) -> None:
        self.expert, self.variables = expert, expert.variables
        self.graph = make_fx(self._stateless, tracing_mode=sizes)(x, *self._values())

    def __call__(self, x: Tensor) -> Tensor:
        return self.graph(x, *self._values())

    def _values(self) -> list[Tensor]:
        return [variable.value for variable in self.variables]

    def _stateless(self, x: Tensor, *values: Tensor) -> Tensor:
        with keras.StatelessScope(zip(self.variables, values, strict=True)):
            return self.expert(x, training=False)


def _trace(expert: keras.Layer, x: Tensor) -> collections.abc.Callable[[Tensor], Tensor]:
    more = torch.cat([x, x[:1]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Sizes as numbers are recorded in a tenth of the time of symbols, and hold for any rows but where a shape is
        # computed from their number.
        attempts: list[tuple[Sizes, Tensor]] = [("real", x), ("symbolic", _unlike_others(more, expert))]
        for sizes, rows in attempts:
            try:
                traced = Trace(expert, rows, sizes)
                if torch.allclose(traced(more), expert(more, training=False), rtol=1e-4, atol=1e-5, equal_nan=True):
                    return traced
            except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError):
                pass
    return functools.partial(expert, training=False)


def _unlike_others(x: Tensor, expert: keras.Layer) -> Tensor:
    """Rows in such a number as no other size is: equal ones get one symbol, and 1 gets none."""
    others = {1, 2, *x.shape, *(size for variable in expert.variables for size in variable.shape)}
    rows = next(n for n in itertools.count(3) if n not in others)
    return x[:1].expand(rows, *x.shape[1:])
