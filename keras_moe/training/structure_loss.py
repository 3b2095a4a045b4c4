"""The structure loss of binary segmentation, as Patcher's authors use it on polyps (MICCAI 2022)."""

import keras
from keras import ops

from keras_moe.types import Tensor

_WINDOW = 31


@keras.saving.register_keras_serializable(package="keras_moe")
class StructureLoss(keras.losses.Loss):
    """Weighted cross-entropy plus weighted IoU; pixels near an edge of the mask weigh up to six times more.

    With the mask m, the softmax p of the foreground and w = 1 + 5 |mean of m over 31x31 - m| (at the border over the
    pixels inside the image), per image:

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
