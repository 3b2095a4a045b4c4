"""The ensembler: one prediction from the base and the experts."""

import typing

import keras
from keras import ops

from keras_moe.checks import flag
from keras_moe.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_moe")
class Ensembler(keras.layers.Layer):
    """Averages the outputs of the base and of the experts that ran.

    The average is ``(base + b * experts) / (1 + b * s)``, where ``s`` is the sum of the row's routing weights.
    Single-gated MoE (BMVC 2022, section 3) found the plain sum of base and expert sufficient, that is ``b = 1``. The
    division keeps an image with an expert comparable with an early exit (``s = 0``), whose prediction is the base's.

    Args:
        learned: bool. False: ``b`` is 1. True: ``b`` is one learned positive number that starts at 1.

    Call arguments:
        base: float tensor ``(n, c)``.
        experts: float tensor ``(n, c)``, the experts' weighted sum from an ``ExpertBank``.
        weights: float tensor ``(n, experts)``, the routing weights.

    Returns:
        A float tensor ``(n, c)``.

    Raises:
        ValueError: base and experts of different shapes.

    Example:
        >>> base, experts = np.array([[2.0, 4.0], [2.0, 4.0]]), np.array([[4.0, 8.0], [0.0, 0.0]])
        >>> weights = np.array([[0.5, 0.5], [0.0, 0.0]])  # the second image exits early
        >>> keras.ops.convert_to_numpy(keras_moe.layers.Ensembler()(base, experts, weights))
        array([[3., 6.],
               [2., 4.]], dtype=float32)
    """

    def __init__(self, learned: bool = False, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.learned: bool = flag("Ensembler", "learned", learned)
        self.log_balance: keras.Variable | None = None

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

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "learned": self.learned}
