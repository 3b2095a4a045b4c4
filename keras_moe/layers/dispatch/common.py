"""Functions that the dispatchers share: outputs times routing weights, and zeros of an output's shape."""

import typing

import keras
from keras import ops

from keras_moe.types import Shape, Tensor


def weighted(y: Tensor, weight: Tensor) -> Tensor:
    """Rows of ``y``, ``(n, ...)``, times ``weight``, ``(n,)``, in the dtype of the weight."""
    return ops.cast(y, weight.dtype) * ops.reshape(weight, (-1,) + (1,) * (len(y.shape) - 1))


def zeros(expert: keras.Layer, x: Tensor, rows: int, dtype: str, zero: Tensor = 0) -> Tensor:
    """The output of an expert that did not run: ``rows`` rows of its output shape, filled with ``zero``."""
    return ops.full((rows, *output_shape(expert, x)), zero, dtype=dtype)


def output_shape(expert: keras.Layer, x: Tensor) -> Shape:
    """Shape of the expert's output for ``x``, without the batch axis."""
    if keras.backend.backend() == "jax":
        return _traced_shape(expert, x)
    return tuple(expert.compute_output_spec(keras.KerasTensor((None, *x.shape[1:]), x.dtype)).shape[1:])


def _traced_shape(expert: keras.Layer, x: Tensor) -> Shape:
    # A trace with the current variables. Keras' own shape inference, for layers that do not declare a shape, reads
    # values that variables do not have while a model is traced.
    import jax

    shape_and_dtype: typing.Any = jax.ShapeDtypeStruct  # JAX declares no types for it
    rows = shape_and_dtype((1, *x.shape[1:]), x.dtype)
    return tuple(jax.eval_shape(lambda rows: expert(rows, training=False), rows).shape[1:])
