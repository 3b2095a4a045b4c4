"""Ensemblers: one prediction from the base and the experts, or from the experts' maps of logits."""

import typing

import keras
from keras import ops

from keras_moe.checks import flag, integer
from keras_moe.older_names import OlderNames
from keras_moe.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_moe")
class Ensembler(OlderNames):
    """Averages the outputs of the base and of the experts that ran.

    The average is ``(base + b * experts) / (1 + b * s)``, where ``s`` is the sum of the row's routing weights.
    Single-gated MoE (BMVC 2022, section 3) found the plain sum of base and expert sufficient, that is ``b = 1``. The
    division keeps an image with an expert comparable with an early exit (``s = 0``), whose prediction is the base's.

    Args:
        learned: bool. False: ``b`` is 1. True: ``b`` is one learned positive number that starts at 1.

    Call arguments:
        base: float tensor ``(n, c)``.
        experts: float tensor ``(n, c)``, the experts' weighted sum from an ``ExpertBank``.
        routing_weights: float tensor ``(n, experts)``.

    Returns:
        A float tensor ``(n, c)``.

    Raises:
        ValueError: base and experts of different shapes.

    Example:
        >>> base, experts = np.array([[2.0, 4.0], [2.0, 4.0]]), np.array([[4.0, 8.0], [0.0, 0.0]])
        >>> routing_weights = np.array([[0.5, 0.5], [0.0, 0.0]])  # the second image exits early
        >>> keras.ops.convert_to_numpy(keras_moe.layers.Ensembler()(base, experts, routing_weights))
        array([[3., 6.],
               [2., 4.]], dtype=float32)
    """

    older_names: typing.ClassVar = {"weights": "routing_weights"}

    def __init__(self, learned: bool = False, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.learned: bool = flag("Ensembler", "learned", learned)
        self.log_balance: keras.Variable | None = None

    def build(self, base_shape: Shape, experts_shape: Shape, routing_weights_shape: Shape) -> None:
        if tuple(base_shape[1:]) != tuple(experts_shape[1:]):
            raise ValueError(
                f"Ensembler: base and experts must agree in shape. Received: {base_shape} and {experts_shape}"
            )
        if self.learned:
            self.log_balance = self.add_weight(shape=(), initializer="zeros", name="log_balance")

    def call(self, base: Tensor, experts: Tensor, routing_weights: Tensor) -> Tensor:
        ran = ops.sum(routing_weights, axis=-1, keepdims=True)
        if not self.learned:
            return (base + experts) / (1 + ran)
        balance = ops.exp(ops.cast(self.log_balance, self.compute_dtype))
        return (base + balance * experts) / (1 + balance * ran)

    def compute_output_shape(self, base_shape: Shape, experts_shape: Shape, routing_weights_shape: Shape) -> Shape:
        return tuple(base_shape)

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "learned": self.learned}


@keras.saving.register_keras_serializable(package="keras_moe")
class WeightedSum(OlderNames):
    """``sum over k of routing_weights_k * logits_k`` on maps of logits, before any softmax (SAIAD 2020, section 3).

    Args:
        num_experts: int, K.

    Call arguments:
        logits: float tensor ``(n, h, w, K * c)``, the experts' maps concatenated along the channels.
        routing_weights: float tensor with a weight per expert for each image ``(n, K)``, for each class ``(n, c, K)``,
            or for each pixel ``(n, h, w, K)``.

    Returns:
        A float tensor ``(n, h, w, c)``.

    Raises:
        ValueError: routing weights or logits of another shape.

    Example:
        >>> logits = np.array([1.0, 2.0, 10.0, 20.0]).reshape(1, 1, 1, 4)  # two experts, two classes
        >>> outputs = keras_moe.layers.WeightedSum(num_experts=2)(logits, np.array([[0.75, 0.25]]))
        >>> keras.ops.convert_to_numpy(outputs)
        array([[[[3.25, 6.5 ]]]], dtype=float32)
    """

    older_names: typing.ClassVar = {"weights": "routing_weights"}

    def __init__(self, num_experts: int, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.num_experts: int = integer("WeightedSum", "num_experts", num_experts, 1)

    def build(self, logits_shape: tuple[int, ...], routing_weights_shape: tuple[int, ...]) -> None:
        _, *size, channels = logits_shape
        classes = channels // self.num_experts
        fits = [(self.num_experts,), (classes, self.num_experts), (*size, self.num_experts)]
        if channels % self.num_experts or tuple(routing_weights_shape[1:]) not in fits:
            raise ValueError(
                f"WeightedSum: expected routing_weights (n, {self.num_experts}), (n, {classes}, {self.num_experts}) or "
                f"(n, {', '.join(map(str, size))}, {self.num_experts}) for logits {tuple(logits_shape)}. "
                f"Received: {tuple(routing_weights_shape)}"
            )

    def call(self, logits: Tensor, routing_weights: Tensor) -> Tensor:
        classes = logits.shape[-1] // self.num_experts
        maps = [logits[..., k * classes : (k + 1) * classes] for k in range(self.num_experts)]
        return sum(y * self._of_expert(routing_weights, k) for k, y in enumerate(maps))

    def _of_expert(self, routing_weights: Tensor, k: int) -> Tensor:
        """The weight of expert k, in a shape that multiplies a map ``(n, h, w, c)``."""
        weight = routing_weights[..., k : k + 1]
        if len(routing_weights.shape) == 4:
            return weight
        return ops.reshape(weight, (-1, 1, 1, 1 if len(routing_weights.shape) == 2 else routing_weights.shape[1]))

    def compute_output_shape(self, logits_shape: tuple[int, ...], routing_weights_shape: tuple[int, ...]) -> Shape:
        return (*logits_shape[:-1], logits_shape[-1] // self.num_experts)

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "num_experts": self.num_experts}
