"""Losses on gate logits alone, without a target."""

import typing

import keras
from keras import ops

from keras_moe.checks import number
from keras_moe.types import Tensor


@keras.saving.register_keras_serializable(package="keras_moe")
class RoutingLoss(keras.losses.Loss):
    """Asks for a gate that is decided on each row and balanced over the batch (ClassSR, CVPR 2021, section 3.3).

    With ``P`` the softmax of the logits, n rows and M experts:

    - class loss ``(1/n) sum over rows of [(M - 1) - sum over i < j of |P_i - P_j|]``: M - 1 for equal probabilities, 0
      for a one-hot row;
    - average loss ``sum over i of |sum over rows of P_i - n/M| / (4n/M)``: 0 for equal shares of the experts, and
      ``(M - 1) / 2`` if one expert has every row. It counts soft shares, which have a gradient.

    The constants are those of the paper's code. The loss ignores its targets.

    Args:
        class_loss_weight: float, weight of the class loss.
        average_loss_weight: float, weight of the average loss.
    """

    def __init__(
        self,
        class_loss_weight: float = 0.5,
        average_loss_weight: float = 3.0,
        name: str = "routing_loss",
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.class_loss_weight = number("RoutingLoss", "class_loss_weight", class_loss_weight)
        self.average_loss_weight = number("RoutingLoss", "average_loss_weight", average_loss_weight)

    def call(self, y_true: Tensor, logits: Tensor) -> Tensor:
        probabilities = ops.softmax(ops.cast(logits, "float32"))
        decided, balanced = class_loss(probabilities), average_loss(probabilities)
        return self.class_loss_weight * decided + self.average_loss_weight * balanced

    def get_config(self) -> dict[str, typing.Any]:
        weights = {"class_loss_weight": self.class_loss_weight, "average_loss_weight": self.average_loss_weight}
        return {**super().get_config(), **weights}


def class_loss(probabilities: Tensor) -> Tensor:
    """The class loss above, of ``(n, M)`` probabilities: a scalar tensor."""
    experts = probabilities.shape[-1]
    gaps = ops.abs(ops.expand_dims(probabilities, -1) - ops.expand_dims(probabilities, -2))  # every pair twice
    return experts - 1 - ops.mean(ops.sum(gaps, axis=(-2, -1))) / 2


def average_loss(probabilities: Tensor) -> Tensor:
    """The average loss above, of ``(n, M)`` probabilities: a scalar tensor."""
    experts = probabilities.shape[-1]
    # Divided by n in both places: the shares are means.
    return ops.sum(ops.abs(ops.mean(probabilities, axis=0) - 1 / experts)) * experts / 4
