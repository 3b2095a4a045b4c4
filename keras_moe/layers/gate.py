"""The gate: from logits to routing weights."""

import functools
import typing

import keras
from keras import ops

from keras_moe.checks import check, integer, number
from keras_moe.older_names import OlderNames
from keras_moe.types import Shape, Tensor

_check = functools.partial(check, "TopKGate")


@keras.saving.register_keras_serializable(package="keras_moe")
class TopKGate(OlderNames):
    """Turns gate logits into routing weights: softmax over the ``top_k`` largest, exact zeros elsewhere.

    The gate has no trained weights. The layer before it computes the logits: a ``Dense`` on pooled features, or a
    convolution for a gate per pixel. HydraNets (CVPR 2018) describe a soft gate whose top-k branches run at inference,
    without a formula. This layer uses the common one, ``softmax(logits / temperature)`` over the selected experts: the
    weights of a row sum to one.

    Dynamic k follows the idea of DynK-Hydra (Complex & Intelligent Systems 9(2), 2022, formula unpublished): a selected
    expert whose weight is below ``drop_below`` is dropped, and the rest is renormalised. The largest weight always
    stays. The rule holds in training too, for fine-tuning under the conditions of use, unless ``train_top_k`` is given.

    A NaN or an infinity among the logits of a row makes all its weights NaN: every expert runs and the result is NaN.
    Of equal logits the one of lowest index is chosen.

    Args:
        top_k: int >= 1, the most experts of a row, no more than there are.
        train_top_k: int or None, ``top_k`` in training; None: the same. The number of experts gives soft routing.
        temperature: float > 0, the divisor of the logits.
        noise_std: float >= 0, standard deviation of the normal noise on the logits in training.
        drop_below: float in [0, 1], the least weight of a further expert; 0 keeps all ``top_k``. It is a non-trainable
            variable: assign ``gate.drop_below`` at any time, without compiling again.
        seed: int or None, of the noise.

    Call arguments:
        logits: float tensor ``(..., experts)``.
        training: bool.

    Returns:
        Routing weights, float tensor ``(..., experts)`` in the layer's compute dtype (computed in float32).

    Raises:
        ValueError: an argument out of range, or ``top_k`` larger than the number of experts.

    Example:
        >>> gate = keras_moe.layers.TopKGate(top_k=2)
        >>> logits = np.log([[6.0, 2.0, 1.0]])
        >>> keras.ops.convert_to_numpy(gate(logits)).round(3)
        array([[0.75, 0.25, 0.  ]], dtype=float32)
        >>> gate.drop_below = 0.3
        >>> keras.ops.convert_to_numpy(gate(logits)).round(3)
        array([[1., 0., 0.]], dtype=float32)
    """

    older_names: typing.ClassVar = {"k": "top_k", "train_k": "train_top_k"}

    def __init__(
        self,
        top_k: int = 1,
        train_top_k: int | None = None,
        temperature: float = 1.0,
        noise_std: float = 0.0,
        drop_below: float = 0.0,
        seed: int | None = None,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(**kwargs)
        self.top_k: int = integer("TopKGate", "top_k", top_k, 1)
        self.train_top_k: int | None = integer("TopKGate", "train_top_k", train_top_k, 1, or_none=True)
        self.temperature: float = number("TopKGate", "temperature", temperature, above=0)
        self.noise_std: float = number("TopKGate", "noise_std", noise_std, 0)
        self.seed: int | None = integer("TopKGate", "seed", seed, or_none=True)
        self._initial_drop_below: float = number("TopKGate", "drop_below", drop_below, 0, 1)
        self.random = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True

    def build(self, input_shape: tuple[int, ...]) -> None:
        experts = input_shape[-1]
        for name, k in (("top_k", self.top_k), ("train_top_k", self.train_top_k)):
            _check(name, k, k is None or k <= experts, f"at most the number of experts, {experts}")
        self._drop_below = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(self._initial_drop_below), trainable=False,
            dtype="float32", autocast=False, name="drop_below",
        )  # fmt: skip

    @property
    def drop_below(self) -> float:
        """The least weight of a further expert (dynamic k), a float in [0, 1].

        Example:
            >>> gate = keras_moe.layers.TopKGate(top_k=2)
            >>> gate.drop_below = 0.3
            >>> keras.ops.convert_to_numpy(gate(np.log([[0.6, 0.3, 0.1], [0.8, 0.1, 0.1]]))).round(3)
            array([[0.667, 0.333, 0.   ],
                   [1.   , 0.   , 0.   ]], dtype=float32)
        """
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
        soft = self.train_top_k if training else None
        routing_weights = _softmax(logits, _top(logits, soft or self.top_k))
        if not soft:
            routing_weights = self._drop(routing_weights)
        return ops.cast(_poison(routing_weights, logits), self.compute_dtype)

    def _drop(self, routing_weights: Tensor) -> Tensor:
        largest = ops.max(routing_weights, axis=-1, keepdims=True, initial=0.0)
        keep = ops.logical_or(routing_weights >= self._drop_below, routing_weights >= largest)
        routing_weights = ops.where(keep, routing_weights, 0.0)
        return routing_weights / ops.sum(routing_weights, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, typing.Any]:
        return {
            **super().get_config(),
            "top_k": self.top_k,
            "train_top_k": self.train_top_k,
            "temperature": self.temperature,
            "noise_std": self.noise_std,
            "drop_below": self.drop_below,
            "seed": self.seed,
        }


def _top(logits: Tensor, k: int) -> Tensor:
    """Mask of the k largest logits, bool ``(..., experts)``; of equal logits the first."""
    # By rank instead of ``ops.top_k``, whose choice among equals differs from backend to backend.
    mine, other = ops.expand_dims(logits, -1), ops.expand_dims(logits, -2)
    index = ops.arange(logits.shape[-1])
    earlier = ops.expand_dims(index, -2) < ops.expand_dims(index, -1)
    ahead = ops.logical_or(other > mine, ops.logical_and(ops.equal(other, mine), earlier))
    # In float32, exact for counts: microcontrollers have no sum of integers.
    return ops.sum(ops.cast(ahead, "float32"), axis=-1) < k


def _softmax(logits: Tensor, mask: Tensor) -> Tensor:
    # The initial value is for TensorFlow, which has no maximum of an empty batch.
    largest = ops.max(logits, axis=-1, keepdims=True, initial=float("-inf"))
    exponents = ops.exp(logits - ops.stop_gradient(largest))
    exponents = ops.where(mask, exponents, 0.0)
    return exponents / ops.sum(exponents, axis=-1, keepdims=True)


def _poison(routing_weights: Tensor, logits: Tensor) -> Tensor:
    finite = ops.all(ops.isfinite(logits), axis=-1, keepdims=True)
    return ops.where(finite, routing_weights, float("nan"))
