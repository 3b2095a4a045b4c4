"""Losses: of gate logits alone, without a target, and the structure loss of binary segmentation."""

import typing

import keras
from keras import ops

from keras_moe.checks import number
from keras_moe.types import Tensor

_WINDOW = 31


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


@keras.saving.register_keras_serializable(package="keras_moe")
class StructureLoss(keras.losses.Loss):
    """Weighted cross-entropy plus weighted IoU; pixels near an edge of the mask weigh up to six times more.

    Patcher's authors use it on polyps (MICCAI 2022). With the mask m, the softmax p of the foreground and
    w = 1 + 5 |mean of m over 31x31 - m| (at the border over the pixels inside the image), per image:

        sum(w CE) / sum(w)  +  1 - (sum(w p m) + 1) / (sum(w (p + m)) - sum(w p m) + 1)

    Call arguments:
        y_true: integer masks ``(n, h, w)``: 1 is foreground; every other label, the ignore label too, is background.
        y_pred: logits ``(n, h, w, 2)``.

    Raises:
        ValueError: logits of another number of classes.

    Example:
        >>> masks = np.array([[[0, 1], [1, 0]]])
        >>> loss = training.StructureLoss()
        >>> right, wrong = (np.stack([-sign * (2.0 * masks - 1), sign * (2.0 * masks - 1)], -1) for sign in (20, -20))
        >>> f"{float(loss(masks, right)):.3f}"
        '0.000'
        >>> float(loss(masks, wrong)) > 20
        True
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if y_pred.shape[-1] != 2:
            raise ValueError(f"StructureLoss: expected logits of 2 classes. Received: {y_pred.shape[-1]} classes")
        mask = ops.cast(ops.equal(y_true, 1), "float32")
        logits = ops.cast(y_pred, "float32")
        around = ops.average_pool(ops.expand_dims(mask, -1), _WINDOW, 1, "same", "channels_last")
        weight = 1 + 5 * ops.abs(ops.squeeze(around, -1) - mask)
        margin = (logits[..., 1] - logits[..., 0]) * (2 * mask - 1)
        crossed = _total(weight * ops.softplus(-margin)) / _total(weight)
        foreground = ops.sigmoid(logits[..., 1] - logits[..., 0])
        both = _total(weight * foreground * mask)
        either = _total(weight * (foreground + mask)) - both
        return crossed + 1 - (both + 1) / (either + 1)


def _total(x: Tensor) -> Tensor:
    return ops.sum(x, axis=(1, 2))
