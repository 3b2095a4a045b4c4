"""Experts on PyTorch without Python between their kernels.

For an expert with a few rows Keras' own work around each layer costs more than the layer; benchmarks/dispatch.py
measures the rest of it.
"""

import collections.abc
import functools
import threading
import typing
import warnings

import keras
import torch

from keras_moe.layers.changes import MadeOf
from keras_moe.types import Tensor

# One thread traces at a time, because a trace sets aside Python's filters of warnings, which all threads share. The
# lock is reentrant: an expert may hold a bank of its own, which is traced within.
_TRACING = threading.RLock()
# PyTorch declares no types for these.
_JIT: typing.Any = torch.jit
_C: typing.Any = torch._C


class Traces(MadeOf):
    """The traces of an expert in its present state: dict, shape of its rows, their dtype and device -> trace."""

    def __init__(self) -> None:
        super().__init__(lambda expert: {})


def is_recording() -> bool:
    """Whether a trace or an export is being recorded, which would fix the decisions of Python."""
    return bool(_JIT.is_tracing()) or torch.compiler.is_exporting()


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

    It holds them itself: what ``torch.jit.trace`` records is kept for as long as the process lives.
    """

    def __init__(self, expert: keras.Layer, x: Tensor) -> None:
        self.expert, self.variables = expert, expert.variables
        graph, _ = _JIT._get_trace_graph(self._stateless, (x, *self._values()), _force_outplace=False)
        self.run = _C._create_function_from_graph(type(expert).__name__, graph)

    def __call__(self, x: Tensor) -> Tensor:
        return self.run(x, *self._values())

    def _values(self) -> list[Tensor]:
        return [variable.value for variable in self.variables]

    def _stateless(self, x: Tensor, *values: Tensor) -> Tensor:
        with keras.StatelessScope(zip(self.variables, values, strict=True)):
            return self.expert(x, training=False)


def _trace(expert: keras.Layer, x: Tensor) -> collections.abc.Callable[[Tensor], Tensor]:
    more, run = torch.cat([x, x[:1]]), functools.partial(expert, training=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes that become constants, which other rows show
            traced = Trace(expert, x)
            agrees = torch.allclose(traced(more), run(more), rtol=1e-4, atol=1e-5, equal_nan=True)
    except (RuntimeError, ValueError, TypeError, AttributeError):
        return run
    return traced if agrees else run
