"""Experts on PyTorch without Python between their kernels.

For an expert with a few rows Keras' own work around each layer costs more than the layer; benchmarks/dispatch.py
measures the rest of it.
"""

import collections.abc
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
_JIT: typing.Any = torch.jit  # PyTorch declares no types for it


class Traces(MadeOf):
    """The traces of an expert in its present state: dict, shape of its rows, their dtype and device -> trace."""

    def __init__(self) -> None:
        super().__init__(lambda expert: {})


def is_recording() -> bool:
    """Whether a trace or an export is being recorded, which would fix the decisions of Python."""
    return bool(_JIT.is_tracing()) or torch.compiler.is_exporting()


class Traced:
    """An expert that is traced once for each shape of its rows and runs as that trace at inference.

    Gradients, training and compilation use the expert itself. A trace reads the expert's variables in place, so that
    new weights take effect at once. Other changes of the expert cause a new trace. A trace that disagrees with the
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


class _Inference(torch.nn.Module):
    def __init__(self, expert: keras.Layer) -> None:
        super().__init__()
        self.expert = expert

    def forward(self, x: Tensor) -> Tensor:
        return self.expert(x, training=False)


def _trace(expert: keras.Layer, x: Tensor) -> collections.abc.Callable[[Tensor], Tensor]:
    run = _Inference(expert)
    more = torch.cat([x, x[:1]])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns that a newer exporter exists
            traced: collections.abc.Callable[[Tensor], Tensor] = _JIT.trace(run, (x,), check_trace=False)
            agrees = torch.allclose(traced(more), run(more), rtol=1e-4, atol=1e-5, equal_nan=True)
    except (RuntimeError, ValueError, TypeError, AttributeError):
        return run
    return traced if agrees else run
