"""Experts on PyTorch without Python between their kernels.

Keras' own work around each layer costs more than the layer when an expert gets a few rows; benchmarks/dispatch.py shows
what is left of it.
"""

import warnings

import torch


def is_recording():
    """Whether a trace or an export is being made, in which Python's decisions stay as they fell."""
    return torch.jit.is_tracing() or torch.compiler.is_exporting()


class Traced:
    """An expert that is traced once for each shape of its rows and runs as that trace in inference.

    Gradients, training and compilation go to the expert itself. A trace reads the expert's variables where they lie, so
    that assigning weights shows at once. One that does not agree with the expert on another number of rows is not used.
    """

    def __init__(self, expert):
        self.expert = expert
        self.runs = {}

    def __call__(self, x, training=False):
        if training or torch.is_grad_enabled() or torch.compiler.is_compiling() or is_recording():
            return self.expert(x, training=training)
        key = (tuple(x.shape[1:]), x.dtype, x.device)
        if key not in self.runs:
            self.runs[key] = _trace(self.expert, x)
        return self.runs[key](x)

    def compute_output_shape(self, input_shape):
        return self.expert.compute_output_shape(input_shape)

    @property
    def trainable_variables(self):
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
