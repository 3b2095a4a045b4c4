"""The gate: logits in, routing weights out."""

import functools
import typing

import keras
from keras import ops

from keras_moe.checks import check, integer, number
from keras_moe.types import Shape, Tensor

_check = functools.partial(check, "TopKGate")


@keras.saving.register_keras_serializable(package="keras_moe")
class TopKGate(keras.layers.Layer):
    """Turns gate logits into routing weights: softmax over the ``k`` largest, exact zeros elsewhere.

    It has no weights of its own; whatever computes the logits (a ``Dense`` on pooled features, a convolution for a
    gate per pixel) comes before it. HydraNets (CVPR 2018) describe a soft gate whose top-k branches run at inference;
    where the formula is not published this layer uses the common one: ``softmax(logits / temperature)`` restricted to
    the selected experts, so that the weights of a row sum to one.

    Dynamic k, in the spirit of DynK-Hydra (Complex & Intelligent Systems 9(2), 2022, formula unpublished): a selected
    expert whose weight is below ``drop_below`` is dropped and the rest renormalised. The largest always stays. Training
    drops too, so that a model can be fine-tuned as it will be used; but not where ``train_k`` is given.

    A row with a NaN or an infinity in its logits gets NaN weights, all of them: every expert runs for that row and its
    result is NaN. It is never routed as if nothing had happened. Equal logits go to the lowest index.

    Args:
        k: int >= 1, how many experts a row may choose; more than there are experts is an error at build time.
        train_k: int or None, ``k`` during training (None: the same). The number of experts makes it soft routing.
        temperature: float > 0, divides the logits.
        noise_std: float >= 0, standard deviation of normal noise added to the logits in training.
        drop_below: float in [0, 1], see above. 0 keeps all k. It is a non-trainable variable, so that
            ``gate.drop_below = 0.2`` takes effect after training without compiling anew.
        seed: int or None, for the noise.

    Call arguments:
        logits: float tensor ``(..., experts)``.
        training: bool.

    Returns:
        Routing weights, float tensor ``(..., experts)`` in the layer's compute dtype (computed in float32).

    Raises:
        ValueError: on an argument out of range, or ``k`` larger than the number of experts.
    """

    def __init__(
        self,
        k: int = 1,
        train_k: int | None = None,
        temperature: float = 1.0,
        noise_std: float = 0.0,
        drop_below: float = 0.0,
        seed: int | None = None,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(**kwargs)
        self.k = integer("TopKGate", "k", k, 1)
        self.train_k = integer("TopKGate", "train_k", train_k, 1, or_none=True)
        self.temperature = number("TopKGate", "temperature", temperature, above=0)
        self.noise_std = number("TopKGate", "noise_std", noise_std, 0)
        self.seed = integer("TopKGate", "seed", seed, or_none=True)
        self._initial_drop_below = number("TopKGate", "drop_below", drop_below, 0, 1)
        self.random = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        experts = input_shape[-1]
        for name, k in (("k", self.k), ("train_k", self.train_k)):
            _check(name, k, k is None or k <= experts, f"at most the number of experts, {experts}")
        self._drop_below = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(self._initial_drop_below), trainable=False,
            dtype="float32", autocast=False, name="drop_below",
        )  # fmt: skip

    @property
    def drop_below(self) -> float:
        """The dynamic-k threshold, a float in [0, 1]."""
        return float(ops.convert_to_numpy(self._drop_below)) if self.built else self._initial_drop_below

    @drop_below.setter
    def drop_below(self, value: float) -> None:
        value = number("TopKGate", "drop_below", value, 0, 1)
        if self.built:
            self._drop_below.assign(value)
        else:
            self._initial_drop_below = value

    def call(self, logits: Tensor, training: bool = False) -> Tensor:
        logits = ops.cast(logits, "float32") / self.temperature
        if training and self.noise_std:
            logits += self.noise_std * keras.random.normal(ops.shape(logits), seed=self.random)
        weights = _softmax(logits, _top(logits, self.train_k if training and self.train_k else self.k))
        if not (training and self.train_k):
            weights = self._drop(weights)
        return ops.cast(_poison(weights, logits), self.compute_dtype)

    def _drop(self, weights):
        largest = ops.max(weights, axis=-1, keepdims=True, initial=0.0)
        keep = ops.logical_or(weights >= self._drop_below, weights >= largest)
        weights = ops.where(keep, weights, 0.0)
        return weights / ops.sum(weights, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "k": self.k,
            "train_k": self.train_k,
            "temperature": self.temperature,
            "noise_std": self.noise_std,
            "drop_below": self.drop_below,
            "seed": self.seed,
        }


def _top(logits, k):
    """Mask of the k largest, bool ``(..., experts)``; of equal logits the first."""
    # By rank instead of ``ops.top_k``, whose choice among equals differs from backend to backend.
    mine, other = ops.expand_dims(logits, -1), ops.expand_dims(logits, -2)
    index = ops.arange(logits.shape[-1])
    earlier = ops.expand_dims(index, -2) < ops.expand_dims(index, -1)
    ahead = ops.logical_or(other > mine, ops.logical_and(ops.equal(other, mine), earlier))
    return ops.sum(ops.cast(ahead, "int32"), axis=-1) < k


def _softmax(logits, mask):
    # The initial value is for TensorFlow, which has no maximum of an empty batch.
    largest = ops.max(logits, axis=-1, keepdims=True, initial=float("-inf"))
    exponents = ops.exp(logits - ops.stop_gradient(largest))
    exponents = ops.where(mask, exponents, 0.0)
    return exponents / ops.sum(exponents, axis=-1, keepdims=True)


def _poison(weights, logits):
    finite = ops.all(ops.isfinite(logits), axis=-1, keepdims=True)
    return ops.where(finite, weights, float("nan"))
