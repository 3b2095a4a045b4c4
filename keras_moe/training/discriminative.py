"""A smaller learning rate for pretrained layers (Howard, Ruder: ULMFiT, ACL 2018, section 3.2)."""

import typing

import keras

from keras_moe.models.growth import in_backbone
from keras_moe.types import Tensor


class DiscriminativeAdamW(keras.optimizers.AdamW):
    """AdamW with another learning rate for the variables of a named backbone.

    Weight decay is that of the whole learning rate for all variables.

    Args:
        backbone_rate: float, the backbone's learning rate in proportion to the others'.
        **kwargs: of ``keras.optimizers.AdamW``.

    Raises:
        ValueError: when it is built, if no variable belongs to a backbone.
    """

    def __init__(self, backbone_rate: float, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.backbone_rate = backbone_rate

    def build(self, variables: list[keras.Variable]) -> None:
        self._rates = [self.backbone_rate if in_backbone(variable.path) else 1.0 for variable in variables]
        if set(self._rates) == {1.0}:
            raise ValueError(
                f"`backbone_rate` is for models with a named backbone that learns. Received: {self.backbone_rate} for "
                f"{[variable.path for variable in variables[:3]]}…"
            )
        super().build(variables)

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        rate = self._rates[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * rate)
