"""The early exit: an image of which the base is sure gets a route of zeros."""

import typing

import keras
from keras import ops

from keras_moe.checks import number
from keras_moe.older_names import OlderNames
from keras_moe.types import Shape, Tensor

RULES = ("confidence", "product")


@keras.saving.register_keras_serializable(package="keras_moe")
class EarlyExit(OlderNames):
    """Drops experts by a threshold on the confidence of base and gate (any-time single-gated MoE, BMVC 2022).

    The paper's poster prints one rule as a formula and uses another in its tables. This layer has both:

    - ``"confidence"``, the rule of the tables: the base's prediction stands alone if the base's largest probability is
      above ``threshold``. At 1 no image exits early, at 0 every image does. A larger threshold costs more.
    - ``"product"``, the formula: expert k stays if ``gate_k * (1 - largest base probability) >= threshold``, where
      ``gate_k`` is the gate's softmax over all experts. The remaining weights are scaled to a sum of one. At 0 every
      selected expert runs. A larger threshold costs less.

    In training the routing weights pass unchanged. A NaN or an infinity in them or in the base's logits makes the row
    NaN.

    Args:
        rule: ``"confidence"`` or ``"product"``.
        threshold: float in [0, 1]; None: no early exit (1 for ``"confidence"``, 0 for ``"product"``). It is a
            non-trainable variable: assign ``layer.threshold`` at any time, without compiling again.

    Call arguments:
        routing_weights: float tensor ``(n, experts)``, of a ``TopKGate``.
        gate_logits: float tensor ``(n, experts)``.
        base_logits: float tensor ``(n, classes)``.
        training: bool.

    Returns:
        Routing weights, float tensor ``(n, experts)``; a row of zeros is an early exit.

    Raises:
        ValueError: an unknown rule, or a threshold outside [0, 1].

    Example:
        >>> early_exit = keras_moe.layers.EarlyExit(threshold=0.8)
        >>> base_logits = np.log([[0.9, 0.1], [0.6, 0.4]])  # the base is sure of the first image
        >>> routing_weights, gate_logits = np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros((2, 2))
        >>> keras.ops.convert_to_numpy(early_exit(routing_weights, gate_logits, base_logits))
        array([[0., 0.],
               [0., 1.]], dtype=float32)
    """

    older_names: typing.ClassVar = {"route": "routing_weights"}

    def __init__(self, rule: str = "confidence", threshold: float | None = None, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        if rule not in RULES:
            raise ValueError(f"EarlyExit: `rule` must be one of {RULES}. Received: rule={rule!r}")
        self.rule = rule
        self._initial: float = self._checked(threshold)

    def build(self, routing_weights_shape: Shape, gate_logits_shape: Shape, base_logits_shape: Shape) -> None:
        self._threshold = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(self._initial), trainable=False, dtype="float32",
            autocast=False, name="threshold",
        )  # fmt: skip

    @property
    def threshold(self) -> float:
        """The threshold, a float in [0, 1]. Assign None to switch the early exit off.

        Example:
            >>> early_exit = keras_moe.layers.EarlyExit(threshold=0.8)
            >>> early_exit.threshold = None
            >>> early_exit.threshold  # a probability above 1 does not occur
            1.0
        """
        return float(ops.convert_to_numpy(self._threshold)) if self.built else self._initial

    @threshold.setter
    def threshold(self, value: float | None) -> None:
        value = self._checked(value)
        if self.built:
            self._threshold.assign(value)
        else:
            self._initial = value

    def _checked(self, threshold: float | None) -> float:
        checked = number("EarlyExit", "threshold", threshold, 0, 1, or_none=True)
        return {"confidence": 1.0, "product": 0.0}[self.rule] if checked is None else float(checked)

    def call(self, routing_weights: Tensor, gate_logits: Tensor, base_logits: Tensor, training: bool = False) -> Tensor:
        if training:
            return routing_weights
        weights = ops.cast(routing_weights, "float32")
        base_logits = ops.cast(base_logits, "float32")
        unsure = 1 - ops.max(ops.softmax(base_logits), axis=-1, keepdims=True, initial=0.0)
        if self.rule == "confidence":
            remaining = ops.where(unsure < 1.0 - self._threshold, 0.0, weights)
        else:
            gate = ops.softmax(ops.cast(gate_logits, "float32"))
            remaining = _rescaled(ops.where(gate * unsure < self._threshold, 0.0, weights))
        sound = ops.all(ops.isfinite(base_logits), axis=-1, keepdims=True)
        sound = ops.logical_and(sound, ops.all(ops.isfinite(weights), axis=-1, keepdims=True))
        return ops.cast(ops.where(sound, remaining, float("nan")), self.compute_dtype)

    def compute_output_shape(
        self, routing_weights_shape: Shape, gate_logits_shape: Shape, base_logits_shape: Shape
    ) -> Shape:
        return routing_weights_shape

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "rule": self.rule, "threshold": self.threshold}


def _rescaled(routing_weights: Tensor) -> Tensor:
    total = ops.sum(routing_weights, axis=-1, keepdims=True)
    return routing_weights / ops.where(ops.equal(total, 0), 1.0, total)
