"""The early exit: routes that are not worth their compute become rows of zeros."""

import typing

import keras
from keras import ops

from keras_moe.checks import number
from keras_moe.types import Shape, Tensor

RULES = ("confidence", "product")


@keras.saving.register_keras_serializable(package="keras_moe")
class EarlyExit(keras.layers.Layer):
    """Drops experts by one threshold on what base and gate say (any-time inference of single-gated MoE, BMVC 2022).

    The paper's poster prints a formula, and tables that follow another rule; both are here:

    - ``"confidence"``, as in the tables: the image leaves with the base's answer when the base's largest probability is
      above ``threshold``. 1: nobody leaves; 0: everybody does; a larger threshold costs more.
    - ``"product"``, the formula: expert k stays when ``gate_k * (1 - largest base probability) >= threshold``, with the
      gate's softmax over all experts; the weights of those that stay are scaled to sum to one. 0: every selected
      expert runs; a larger threshold costs less.

    Training takes the route as it is. NaN or infinity in the base's logits, or NaN in the route, makes the row NaN.

    Args:
        rule: ``"confidence"`` or ``"product"``.
        threshold: float in [0, 1]; None: no early exit (1 for ``"confidence"``, 0 for ``"product"``). It is a
            non-trainable variable: set ``layer.threshold`` at any time, nothing needs compiling anew.

    Call arguments:
        route: float tensor ``(n, experts)``, of a ``TopKGate``.
        gate_logits: float tensor ``(n, experts)``.
        base_logits: float tensor ``(n, classes)``.
        training: bool.

    Returns:
        Routing weights, float tensor ``(n, experts)``; a row of zeros is an early exit.

    Raises:
        ValueError: an unknown rule, or a threshold outside [0, 1].
    """

    def __init__(self, rule: str = "confidence", threshold: float | None = None, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        if rule not in RULES:
            raise ValueError(f"EarlyExit: `rule` must be one of {RULES}. Received: rule={rule!r}")
        self.rule = rule
        self._initial = self._checked(threshold)

    def build(self, route_shape: Shape, gate_logits_shape: Shape, base_logits_shape: Shape) -> None:
        self._threshold = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(self._initial), trainable=False, dtype="float32",
            autocast=False, name="threshold",
        )  # fmt: skip

    @property
    def threshold(self) -> float:
        """The threshold, a float in [0, 1]; set to None: no early exit."""
        return float(ops.convert_to_numpy(self._threshold)) if self.built else self._initial

    @threshold.setter
    def threshold(self, value: float | None) -> None:
        value = self._checked(value)
        if self.built:
            self._threshold.assign(value)
        else:
            self._initial = value

    def _checked(self, threshold):
        none = {"confidence": 1.0, "product": 0.0}[self.rule]
        return none if threshold is None else number("EarlyExit", "threshold", threshold, 0, 1, or_none=True)

    def call(self, route: Tensor, gate_logits: Tensor, base_logits: Tensor, training: bool = False) -> Tensor:
        if training:
            return route
        base_logits = ops.cast(base_logits, "float32")
        unsure = 1 - ops.max(ops.softmax(base_logits), axis=-1, keepdims=True, initial=0.0)
        if self.rule == "confidence":
            left = ops.where(unsure < 1.0 - self._threshold, 0.0, ops.cast(route, "float32"))
        else:
            gate = ops.softmax(ops.cast(gate_logits, "float32"))
            left = _rescaled(ops.where(gate * unsure < self._threshold, 0.0, ops.cast(route, "float32")))
        sound = ops.all(ops.isfinite(base_logits), axis=-1, keepdims=True)
        sound = ops.logical_and(sound, ops.all(ops.isfinite(route), axis=-1, keepdims=True))
        return ops.cast(ops.where(sound, left, float("nan")), self.compute_dtype)

    def compute_output_shape(self, route_shape: Shape, gate_logits_shape: Shape, base_logits_shape: Shape) -> Shape:
        return route_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "rule": self.rule, "threshold": self.threshold}


def _rescaled(weights):
    total = ops.sum(weights, axis=-1, keepdims=True)
    return weights / ops.where(ops.equal(total, 0), 1.0, total)
