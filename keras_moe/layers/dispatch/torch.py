"""Experts on PyTorch without Python between their kernels.

Keras' own work around each layer costs more than the layer when an expert gets a few rows; benchmarks/dispatch.py shows
what is left of it.
"""

import threading
import warnings

import keras
import torch

from keras_moe.layers.changes import MadeOf
from keras_moe.types import Tensor

# One thread traces at a time: Python's filters of warnings, set aside meanwhile, are those of all threads. An expert
# may hold a bank of its own, which is traced within.
_TRACING = threading.RLock()


class Traces(MadeOf):
    """The traces of an expert as it is: dict, shape of its rows, their dtype and device -> trace."""

    def __init__(self) -> None:
        super().__init__(lambda expert: {})


def is_recording() -> bool:
    """Whether a trace or an export is being made, in which Python's decisions stay as they fell."""
    return torch.jit.is_tracing() or torch.compiler.is_exporting()


class Traced:
    """An expert that is traced once for each shape of its rows and runs as that trace in inference.

    Gradients, training and compilation go to the expert itself. A trace reads the expert's variables where they lie, so
    that assigning weights shows at once; an expert that has changed otherwise is traced anew. A trace that does not
    agree with the expert on another number of rows is not used.

    Args:
        expert: a layer.
        traces: its ``Traces``, where they are kept from one object of this class to the next.
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
    def trainable_variables(self) -> list:
        return self.expert.trainable_variables


class _Inference(torch.nn.Module):
    def __init__(self, expert):
        super().__init__()
        self.expert = expert

    def forward(self, x):
        return self.expert(x, training=False)


def _trace(expert, x):
    run = _Inference(expert)
    more = torch.cat([x, x[:1]])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer is of PyTorch's older generation, and says so
            traced = torch.jit.trace(run, (x,), check_trace=False)
            agrees = torch.allclose(traced(more), run(more), rtol=1e-4, atol=1e-5, equal_nan=True)
    except (RuntimeError, ValueError, TypeError, AttributeError):
        return run
    return traced if agrees else run
