"""How rows of a batch reach their experts, and how the results come back.

Axis letters used here: ``n`` rows of the batch, ``K`` experts. Every dispatcher computes the same thing,

    y[n] = sum over k of weights[n, k] * experts[k](x[n]),

and differs only in how much of it is really executed:

=========  ==========================================  ==========================================
name       work                                        used for
=========  ==========================================  ==========================================
dense      every expert on every row                   the oracle of the tests; training on JAX
gathered   each expert on the rows that chose it       TensorFlow and PyTorch (shapes may vary)
looped     each expert on tiles of those rows          JAX (shapes must be static under XLA)
guarded    each expert on the whole batch, or not      a batch of one at inference, on every backend
swapped    each expert on the rows that chose it       TensorFlow, inside ``inference_only``
=========  ==========================================  ==========================================

A weight of exactly zero means that the expert does not run for that row. NaN is not zero: a row whose weights are
NaN runs every expert and its result is NaN, so a broken gate is never a plausible route.

The result has the dtype of the weights. Experts may compute in others: each output is cast before it meets the next.
"""

import keras

from keras_moe.layers.dispatch.dense import dense
from keras_moe.layers.dispatch.gathered import gathered
from keras_moe.layers.dispatch.guarded import guarded
from keras_moe.layers.inference import is_every_expert
from keras_moe.types import Tensor


def dispatch(experts: list, x: Tensor, weights: Tensor, training: bool = False) -> Tensor:
    """Sum of the experts' outputs, weighted; experts with a zero weight do no work.

    Args:
        experts: list of K built layers with equal input and output shapes.
        x: float tensor ``(n, ...)``.
        weights: float tensor ``(n, K)``.
        training: passed on to the experts. On JAX, training runs every expert on the whole batch, because state
            such as BatchNorm's cannot leave a traced branch.

    Returns:
        A tensor ``(n, ...)``: the experts' output shape, the dtype of ``weights``.
    """
    if (keras.backend.backend() == "jax" and training) or is_every_expert() or _is_recorded(x):
        return dense(experts, x, weights, training)
    if keras.backend.backend() == "tensorflow" and not training:
        from keras_moe.layers.dispatch.tensorflow import can_swap, swapped

        if can_swap(experts):
            return swapped(experts, x, weights)
    if x.shape[0] == 1 and not training:
        return guarded(experts, x, weights)
    if keras.backend.backend() == "jax":
        from keras_moe.layers.dispatch.jax import looped

        return looped(experts, x, weights)
    return gathered(experts, x, weights, training)


def _is_recorded(x):
    """Whether what runs now is written down, to run later on other rows: a choice made now would be in it for good."""
    if keras.backend.backend() == "torch":
        from keras_moe.layers.dispatch.torch import is_recording

        return is_recording()
    # JAX: in an export for batches of any size, which is neither a number nor None.
    return keras.backend.backend() == "jax" and not isinstance(x.shape[0], int)
