"""The ensembler: what the base and the experts said, in one answer."""

import typing

import keras
from keras import ops

from keras_moe.checks import flag
from keras_moe.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_moe")
class Ensembler(keras.layers.Layer):
    """Averages the base's output with the experts', over whoever ran.

    ``(base + b * experts) / (1 + b * s)`` with ``s`` the sum of the row's routing weights. Single-gated MoE (BMVC 2022,
    section 3) found the plain sum of base and expert to be enough, which is ``b = 1``; dividing it makes an image that
    one expert saw comparable with one that left early (``s = 0``), whose answer is the base's own.

    Args:
        learned: bool. False: ``b`` is 1. True: ``b`` is learned, one positive number, 1 at first.

    Call arguments:
        base: float tensor ``(n, c)``.
        experts: float tensor ``(n, c)``, the experts' weighted sum, as an ``ExpertBank`` returns it.
        weights: float tensor ``(n, experts)``, the routing weights.

    Returns:
        A float tensor ``(n, c)``.

    Raises:
        ValueError: base and experts of different shapes.
    """

    def __init__(self, learned: bool = False, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.learned = flag("Ensembler", "learned", learned)
        self.log_balance = None

    def build(self, base_shape: Shape, experts_shape: Shape, weights_shape: Shape) -> None:
        if tuple(base_shape[1:]) != tuple(experts_shape[1:]):
            raise ValueError(
                f"Ensembler: base and experts must agree in shape. Received: {base_shape} and {experts_shape}"
            )
        if self.learned:
            self.log_balance = self.add_weight(shape=(), initializer="zeros", name="log_balance")

    def call(self, base: Tensor, experts: Tensor, weights: Tensor) -> Tensor:
        ran = ops.sum(weights, axis=-1, keepdims=True)
        if not self.learned:
            return (base + experts) / (1 + ran)
        balance = ops.exp(ops.cast(self.log_balance, self.compute_dtype))
        return (base + balance * experts) / (1 + balance * ran)

    def compute_output_shape(self, base_shape: Shape, experts_shape: Shape, weights_shape: Shape) -> Shape:
        return tuple(base_shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "learned": self.learned}
