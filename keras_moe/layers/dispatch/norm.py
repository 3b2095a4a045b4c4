"""BatchNorm of experts whose rows lie in tiles: each has the statistics of its own rows."""

import math
import typing

import jax
import jax.numpy as jnp
import keras

from keras_moe.layers.dispatch.tiles import Tiles
from keras_moe.types import Tensor


def is_norm(layer: typing.Any) -> bool:
    """Whether ``layer`` is a BatchNorm of channels in the last axis."""
    if type(layer) is not keras.layers.BatchNormalization or layer.renorm:
        return False
    return bool(layer.axis in (-1, layer.input_spec.ndim - 1))


def normalized(layers: list[keras.layers.BatchNormalization], tiles: Tiles, x: Tensor) -> Tensor:
    """What the layer of each seat's expert makes of ``x`` in training; moving statistics are updated.

    Args:
        layers: one of each expert.
        x: tensor of seats.
    """
    first, dtype = layers[0], jnp.promote_types(x.dtype, "float32")

    def stacked(name: str) -> Tensor:
        return jnp.stack([getattr(layer, name).value for layer in layers]).astype(dtype)

    mean, variance = stacked("moving_mean"), stacked("moving_variance")
    x = x.astype(dtype)
    if first.trainable:
        mean, variance = _moments(x, tiles)
        chosen = tiles.counts > 0
        for k, layer in enumerate(layers):
            _move(layer.moving_mean, mean[k], layer.momentum, chosen[k])
            _move(layer.moving_variance, variance[k], layer.momentum, chosen[k])
    scale = jax.lax.rsqrt(variance + first.epsilon) * (stacked("gamma") if first.scale else 1)
    shift = (stacked("beta") if first.center else 0) - mean * scale
    return (x * tiles.of_experts(scale, x) + tiles.of_experts(shift, x)).astype(first.compute_dtype)


def _moments(x: Tensor, tiles: Tiles) -> tuple[Tensor, Tensor]:
    """Mean and variance ``(K, channels)`` over the rows of each expert; zeros for one without rows."""
    values = jnp.maximum(tiles.counts, 1)[:, None] * math.prod(x.shape[1:-1])
    mean = tiles.sums(x) / values
    return mean, tiles.sums(jnp.square(x - tiles.of_experts(mean, x))) / values


def _move(moving: keras.Variable, value: Tensor, momentum: float, chosen: Tensor) -> None:
    moving.assign(jnp.where(chosen, moving.value * momentum + value * (1 - momentum), moving.value))
