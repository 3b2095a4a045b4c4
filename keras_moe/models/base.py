"""What every model of the package answers: its prediction, its route, its cost."""

import functools
import typing

import numpy as np

from keras_moe import cost
from keras_moe.checks import integer
from keras_moe.layers import ExpertBank
from keras_moe.models.partitioned import PartitionedModel, dtype_scope
from keras_moe.models.remainder import Remainder
from keras_moe.models.routed import RoutedModel
from keras_moe.types import Array, Macs, Tensor

# Of the layers that make gate logits and routes of features, whatever the policy of the rest: float16 ends at 65504,
# and bfloat16 has 3 digits, in which many images would be ties between experts.
ROUTING_DTYPE = "float32"


class MoEModel(PartitionedModel):
    """A mixture of experts, or a dense network beside one: a gate or none, an expert bank or none.

    Args:
        inputs, outputs, parts, …: as for ``PartitionedModel``.
        gate: dict with the symbolic tensors ``"gate_logits"`` and ``"routing_weights"``, each ``(n, experts)``, or
            ``(n, …, experts)`` of a gate that weighs classes or pixels; None for a network without a gate.
        dtype: as the layers were made with; ``compile`` scales losses by it. Small networks answer as in float32 but
            for this share of the largest answer: 0.5 % in mixed_float16, 1 % in float16, 5 % in bfloat16 and
            mixed_bfloat16; so do the gate's logits, and another expert runs only where two of float32's are closer
            than twice that.
    """

    answers = "classes"  # what the output holds: scores of "classes" along its last axis, or an "image"

    def __init__(
        self,
        inputs: Tensor,
        outputs: Tensor,
        parts: dict[str, list[str]],
        gate: dict[str, Tensor] | None = None,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(inputs, outputs, parts, **kwargs)
        self._gate: typing.Any = gate

    @property
    def bank(self) -> ExpertBank | typing.Any:
        """The model's ``ExpertBank``, or None."""
        return next((layer for layer in self.layers if isinstance(layer, ExpertBank)), None)

    @property
    def gate(self) -> dict[str, Tensor] | typing.Any:
        """Dict with the symbolic ``"gate_logits"`` and ``"routing_weights"``, both ``(n, experts)``; None without one.

        ``routing_weights`` is the tensor in the graph; a route is the array of its values.
        """
        return self._gate

    @functools.cached_property
    def _remainder(self):
        return Remainder(lambda: self)  # private, so that Keras saves and loads it after all layers

    @functools.cached_property
    def router(self) -> RoutedModel:
        """The model from images to routing weights; it shares all its layers with this one."""
        if self._gate is None:
            raise ValueError(f"{self.name!r} is a dense network: it has no gate and no route.")
        return self.sharing(self.inputs, self._gate["routing_weights"], f"{self.name}_router")

    def route(self, x: Array, batch_size: int = 256) -> Array:
        """The route of images, their routing weights, float32 ``(n, experts)``.

        Zero where an expert does not run, NaN for a row whose gate met a NaN or an infinity.

        Args:
            x: images, float or integer array ``(n, height, width, channels)``, in the range the model takes.
            batch_size: int.

        Raises:
            ValueError: the model has no gate.
        """
        if len(x) == 0:
            return np.zeros((0, *self.router.output_shape[1:]), "float32")
        batch_size = integer("route", "batch_size", batch_size, 1)
        return np.asarray(self.router.predict(x, batch_size=batch_size, verbose=0), "float32")

    def predict_routed(self, x: Array, batch_size: int = 256) -> tuple[Array, Array | None]:
        """Predictions and the route that led to them, in one pass.

        Args:
            x, batch_size: as for ``route``; at least one image.

        Returns:
            ``(predictions, route)``, two arrays; the route is None for a dense network.
        """
        batch_size = integer("predict_routed", "batch_size", batch_size, 1)
        if self._gate is None:
            return self.predict(x, batch_size=batch_size, verbose=0), None
        both = self.model_with_route.predict(x, batch_size=batch_size, verbose=0)
        return both["prediction"], np.asarray(both["routing_weights"], "float32")

    @functools.cached_property
    def model_with_route(self) -> RoutedModel:
        """The model from images to ``"prediction"``, its output, ``"routing_weights"`` and ``"gate_logits"``."""
        return self.sharing(self.inputs, {"prediction": self.output, **self._gate}, f"{self.name}_with_route")

    def predict_with_route(self, x: Array, route: Array, batch_size: int = 256) -> Array:
        """Predictions under a route of your choice instead of the gate's: "had expert k answered this image".

        Args:
            x: images, as for ``route``; at least one.
            route: float array, one row of weights >= 0 per image, shaped as ``route(x)``; a zero means that the expert
                does not run.
            batch_size: int.

        Returns:
            Predictions, as ``predict`` gives them.

        Raises:
            ValueError: a dense network, or a route of another shape, negative or not finite.
        """
        batch_size = integer("predict_with_route", "batch_size", batch_size, 1)
        shape, route = self.router.output_shape, np.asarray(route, "float32")
        fits = route.ndim == len(shape) and route.shape[-1] == shape[-1] and len(route) == len(x) > 0
        if not fits or not np.all(np.isfinite(route)) or route.min() < 0:
            raise ValueError(
                f"predict_with_route: `route` must be finite weights >= 0 of shape {(len(x), *shape[1:])}, a row for "
                f"each of one or more images. Received: shape {route.shape}"
            )
        return self._under_route.predict([x, route], batch_size=batch_size, verbose=0)

    @functools.cached_property
    def _under_route(self):
        return self.sharing([self.input, self._gate["routing_weights"]], self.output, f"{self.name}_under_route")

    def sharing(self, inputs: Tensor, outputs: Tensor, name: str) -> RoutedModel:
        """A model between symbolic tensors of this one, with its layers and its dtype policy."""
        with dtype_scope(self.dtype_policy):
            return RoutedModel(inputs, outputs, name=name, turns=self._turns)

    @property
    def macs_total(self) -> int:
        """Multiply-accumulates of the whole network per image, every expert included. int."""
        return sum(sum(m) if isinstance(m, list) else m for m in self._macs_of_parts.values())

    def macs_by_part(self) -> Macs:
        """Multiply-accumulates per image: dict, part name -> int, or -> list of int for a part of experts.

        See ``keras_moe.cost`` for what counts.

        Raises:
            ValueError: an input size that is unknown (``None``).
        """
        return dict(self._macs_of_parts)

    def mean_macs(self, *, images: Array | None = None, route: Array | None = None) -> float:
        """Multiply-accumulates executed per image, the mean over images or over their route. float.

        Args:
            images: ``(n, height, width, channels)``.
            route: instead of images, their route ``(n, experts)``.

        Raises:
            ValueError: an input size that is unknown (``None``), nothing to take a mean of, both or neither of
                ``images`` and ``route``, or one of another shape.
        """
        if (images is None) == (route is None):
            raise ValueError("mean_macs: expected either `images` or `route`. Received: both or neither")
        always = sum(m for m in self._macs_of_parts.values() if not isinstance(m, list))
        experts = next((m for m in self._macs_of_parts.values() if isinstance(m, list)), None)
        if experts is None:
            return float(always)
        route = np.asarray(self._route_of(images) if route is None else route)
        if route.ndim != 2 or route.shape[1] != len(experts) or len(route) == 0:
            raise ValueError(
                f"mean_macs: a mean needs at least one row of {len(experts)} weights. Received: shape {route.shape}"
            )
        return float(always + np.mean((route != 0) @ np.asarray(experts, "float64")))

    def _route_of(self, images):
        shape, own = np.shape(images)[1:], self.input_shape[1:]
        if len(shape) != len(own) or any(a not in (None, b) for a, b in zip(own, shape, strict=True)):
            raise ValueError(f"mean_macs: expected images {(len(images), *own)}. Received: {np.shape(images)}")
        return self.route(images)

    @functools.cached_property
    def _macs_of_parts(self):
        return {part: self._macs_of(layers) for part, layers in self.parts.items()}

    def _macs_of(self, layers):
        if any(isinstance(layer, ExpertBank) for layer in layers):
            bank, shape = layers[0], layers[0].input[0].shape
            return [cost.macs(expert, shape) for expert in bank.experts]
        return sum(cost.macs(layer, *(t.shape for t in _as_list(layer.input))) for layer in layers)


def _as_list(x):
    return list(x) if isinstance(x, (list, tuple)) else [x]
