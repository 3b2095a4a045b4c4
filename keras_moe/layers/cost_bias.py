"""A bias against costly experts: the knob between cost and quality."""

import collections.abc
import functools
import typing

import keras
import numpy as np
from keras import ops

from keras_moe.checks import check, number
from keras_moe.types import Shape, Tensor

_check = functools.partial(check, "CostBias")


@keras.saving.register_keras_serializable(package="keras_moe")
class CostBias(keras.layers.Layer):
    """Subtracts ``cost_weight * costs[k]`` from the logit of expert k, at inference.

    Under top-1 routing the cost of a row never rises with ``cost_weight``: the choice maximises
    ``logit - cost_weight * cost``.

    Args:
        costs: floats, one per expert, in any unit.
        cost_weight: float. 0 leaves the logits unchanged, a positive number favours cheap experts, a negative one
            costly experts. It is a non-trainable variable: assign ``layer.cost_weight`` at any time, without compiling
            again.

    Call arguments:
        logits: float tensor ``(..., experts)``.
        training: bool.

    Returns:
        Tensor ``(..., experts)`` in the compute dtype.

    Raises:
        ValueError: a ``cost_weight`` that is not finite, or a number of costs other than the number of experts.

    Example:
        >>> bias = keras_moe.layers.CostBias([1.0, 3.0], cost_weight=0.5)
        >>> keras.ops.convert_to_numpy(bias(np.array([[2.0, 2.5]])))
        array([[1.5, 1. ]], dtype=float32)
        >>> bias.cost_weight = 0.0
        >>> keras.ops.convert_to_numpy(bias(np.array([[2.0, 2.5]])))
        array([[2. , 2.5]], dtype=float32)
    """

    def __init__(self, costs: collections.abc.Sequence[float], cost_weight: float = 0.0, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.costs: tuple[float, ...] = tuple(number("CostBias", "costs", c) for c in costs)
        self._initial: float = number("CostBias", "cost_weight", cost_weight)

    def build(self, shape: Shape) -> None:
        _check("costs", self.costs, len(self.costs) == shape[-1], f"one number for each of {shape[-1]} experts")
        self._cost_weight = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(self._initial), trainable=False, dtype="float32",
            autocast=False, name="cost_weight",
        )  # fmt: skip

    @property
    def cost_weight(self) -> float:
        """The weight of the costs, a float.

        Example:
            >>> bias = keras_moe.layers.CostBias([1.0, 3.0])
            >>> bias.cost_weight = 0.5
            >>> keras.ops.convert_to_numpy(bias(np.array([[2.0, 2.5]])))
            array([[1.5, 1. ]], dtype=float32)
        """
        return float(ops.convert_to_numpy(self._cost_weight)) if self.built else self._initial

    @cost_weight.setter
    def cost_weight(self, value: float) -> None:
        value = number("CostBias", "cost_weight", value)
        if self.built:
            self._cost_weight.assign(value)
        else:
            self._initial = value

    def call(self, logits: Tensor, training: bool = False) -> Tensor:
        logits = ops.cast(logits, "float32")
        biased = logits if training else logits - self._cost_weight * np.asarray(self.costs, "float32")
        return ops.cast(biased, self.compute_dtype)

    def compute_output_spec(self, logits: Tensor, training: bool = False) -> keras.KerasTensor:
        return keras.KerasTensor(logits.shape, self.compute_dtype)

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "costs": list(self.costs), "cost_weight": self.cost_weight}
