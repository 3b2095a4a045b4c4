"""The routing of rows of a batch to their experts, and of the results back to the rows.

``n`` is the number of rows, ``K`` that of experts. Every dispatcher computes the same sum,

    y[n] = sum over k of routing_weights[n, k] * experts[k](x[n]),

and differs only in the work that it executes:

=========  ==========================================  ==========================================
name       work                                        used for
=========  ==========================================  ==========================================
dense      every expert on every row                   the oracle of the tests; formats without branches
gathered   each expert on the rows that chose it       TensorFlow and PyTorch (shapes may vary)
tiled      each expert on tiles of those rows          training on JAX, for experts that are alike
looped     each expert on tiles of those rows          JAX (shapes must be static under XLA)
guarded    each expert on the whole batch, or not      a batch of one at inference, on every backend
swapped    each expert on the rows that chose it       TensorFlow, inside ``inference_only``
=========  ==========================================  ==========================================

An expert does not run for a row whose weight is exactly zero. NaN is not zero: a row of NaN weights runs every expert
and returns NaN, so that a broken gate never looks like a plausible route.

The result has the dtype of the routing weights. Outputs of experts in other dtypes are cast before they are added.
"""

import collections.abc
import typing

import keras

from keras_moe.layers.dispatch.dense import dense
from keras_moe.layers.dispatch.gathered import gathered
from keras_moe.layers.dispatch.guarded import guarded
from keras_moe.layers.inference import is_every_expert
from keras_moe.types import Tensor


def dispatch(
    experts: collections.abc.Sequence[typing.Any],
    x: Tensor,
    routing_weights: Tensor,
    training: bool = False,
    top_k: int | None = None,
) -> Tensor:
    """The weighted sum of the experts' outputs, without the work of experts whose weight is zero.

    Args:
        experts: sequence of K built layers with equal input and output shapes.
        x: float tensor ``(n, ...)``.
        routing_weights: float tensor ``(n, K)``.
        training: bool, an argument of the experts. On JAX, training runs experts on the whole batch that are not alike,
            have layers of the user's own, or are on several devices.
        top_k: int or None, how many experts a row has at most in training; see ``ExpertBank``.

    Returns:
        Tensor ``(n, ...)`` with the experts' output shape and the dtype of ``routing_weights``.
    """
    if is_every_expert() or _is_recorded(x):
        return dense(experts, x, routing_weights, training)
    if keras.backend.backend() == "jax" and training:
        return _trained_on_jax(experts, x, routing_weights, top_k or len(experts))
    if keras.backend.backend() == "tensorflow" and not training:
        from keras_moe.layers.dispatch.tensorflow import can_swap, swapped

        if can_swap(experts):
            return swapped(experts, x, routing_weights)
    if x.shape[0] == 1 and not training:
        return guarded(experts, x, routing_weights)
    if keras.backend.backend() == "jax":
        from keras_moe.layers.dispatch.jax import looped

        return looped(experts, x, routing_weights)
    return gathered(experts, x, routing_weights, training)


def _trained_on_jax(
    experts: collections.abc.Sequence[typing.Any], x: Tensor, routing_weights: Tensor, top_k: int
) -> Tensor:
    from keras_moe.layers.dispatch.jax import is_eager
    from keras_moe.layers.dispatch.tiled import can_tile, tiled

    if is_eager(x) and is_eager(routing_weights):
        return gathered(experts, x, routing_weights, training=True)
    # Rows of several devices would be gathered on each of them.
    if x.shape[0] and keras.distribution.distribution() is None and can_tile(experts, x):
        return tiled(experts, x, routing_weights, top_k)
    return dense(experts, x, routing_weights, training=True)


def _is_recorded(x: Tensor) -> bool:
    """Whether a trace or an export records this call for later use on other rows: it would record the choice, too."""
    if keras.backend.backend() == "torch":
        from keras_moe.layers.torch_traces import is_recording

        return is_recording()
    # JAX: in an export for batches of any size, which is neither a number nor None.
    return keras.backend.backend() == "jax" and not isinstance(x.shape[0], int)
