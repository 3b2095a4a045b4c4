"""What the dispatchers share: outputs times weights, and zeros of an output's shape."""

import keras
from keras import ops

from keras_moe.types import Shape, Tensor


def weighted(y: Tensor, weight: Tensor) -> Tensor:
    """Rows of ``y``, ``(n, ...)``, times ``weight``, ``(n,)``, in the dtype of the weights."""
    return ops.cast(y, weight.dtype) * ops.reshape(weight, (-1,) + (1,) * (len(y.shape) - 1))


def zeros(expert: keras.Layer, x: Tensor, rows: int, dtype: str, zero: Tensor = 0) -> Tensor:
    """What ``rows`` rows of ``expert``'s output are where it did not run; ``zero`` is the number that fills them."""
    return ops.full((rows, *output_shape(expert, x)), zero, dtype=dtype)


def output_shape(expert: keras.Layer, x: Tensor) -> Shape:
    """Shape of what ``expert`` makes of ``x``, without the batch axis."""
    if keras.backend.backend() == "jax":
        return _traced_shape(expert, x)
    return tuple(expert.compute_output_spec(keras.KerasTensor((None, *x.shape[1:]), x.dtype)).shape[1:])


def _traced_shape(expert, x):
    # By tracing it with the variables of here and now: Keras' own inference, for layers that do not tell their shape,
    # asks variables for values that they do not have while a model is traced.
    import jax

    rows = jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
    return jax.eval_shape(lambda rows: expert(rows, training=False), rows).shape[1:]
