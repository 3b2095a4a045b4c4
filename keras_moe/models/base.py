"""The base of every model of the package: predictions, routes and costs."""

import copy
import functools
import typing

import keras
import numpy as np

from keras_moe import cost
from keras_moe.checks import fits, integer
from keras_moe.layers import ExpertBank
from keras_moe.layers.changes import MadeOf
from keras_moe.models.partitioned import PartitionedModel, dtype_scope
from keras_moe.models.remainder import Remainder
from keras_moe.models.routed import RoutedModel
from keras_moe.types import Array, Macs, Tensor

# The dtype of the layers from features to gate logits and routing weights, under any policy of the others: float16 ends
# at 65504, and bfloat16 has 3 digits, in which many images would be ties between experts.
ROUTING_DTYPE = "float32"


class MoEModel(PartitionedModel):
    """A mixture of experts, or a dense network of the same family: with or without a gate and an expert bank.

    Args:
        inputs, outputs, parts, …: as for ``PartitionedModel``.
        gate: dict with the symbolic tensors ``"gate_logits"`` and ``"routing_weights"``, each ``(n, experts)``, or
            ``(n, …, experts)`` for a gate that weighs classes or pixels; None for a network without a gate.
        dtype: the dtype policy of the layers. ``compile`` scales losses by it. Predictions and gate logits of small
            networks differ from float32's by at most this share of the largest: 0.5 % in mixed_float16, 1 % in float16,
            5 % in bfloat16 and mixed_bfloat16. Another expert runs only where two of float32's gate logits are closer
            than twice that.

    Example:
        >>> inputs = keras.Input((4,))
        >>> gate_logits = keras.layers.Dense(3, name="gate")(inputs)
        >>> routing_weights = keras_moe.layers.TopKGate(top_k=1, name="top_k")(gate_logits)
        >>> experts = [keras.layers.Dense(2) for _ in range(3)]
        >>> outputs = keras_moe.layers.ExpertBank(experts, name="experts")(inputs, routing_weights)
        >>> model = keras_moe.models.MoEModel(
        ...     inputs,
        ...     outputs,
        ...     parts={"gate": ["gate", "top_k"], "experts": ["experts"]},
        ...     gate={"gate_logits": gate_logits, "routing_weights": routing_weights},
        ... )
        >>> model.macs_by_part()
        {'gate': 12, 'experts': [8, 8, 8]}
        >>> model.mean_macs(route=[[1, 0, 0], [0, 0.5, 0.5]])  # 12 + (8 + 16) / 2
        24.0
    """

    system = ""  # the kind of mixture, in cards
    output_kind = "classes"  # the content of the output: scores of "classes" along its last axis, or an "image"

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
        """The model's ``ExpertBank``, or None.

        Example:
            >>> len(zoo.load("test_hydranet").bank.experts)
            4
        """
        return next((layer for layer in self.layers if isinstance(layer, ExpertBank)), None)

    @property
    def gate(self) -> dict[str, Tensor] | typing.Any:
        """Dict with the symbolic ``"gate_logits"`` and ``"routing_weights"``; None for a dense network.

        ``routing_weights`` is the tensor in the graph; a route is the array of its values.

        Example:
            >>> {name: tensor.shape for name, tensor in zoo.load("test_hydranet").gate.items()}
            {'gate_logits': (None, 4), 'routing_weights': (None, 4)}
        """
        return self._gate

    @functools.cached_property
    def _remainder(self) -> Remainder:
        return Remainder(lambda: self)  # private, so that Keras saves and loads it after all layers

    @functools.cached_property
    def router(self) -> RoutedModel:
        """The model from images to routing weights, which shares its layers with this one.

        Raises:
            ValueError: the model has no gate.

        Example:
            >>> zoo.load("test_hydranet").router.output_shape
            (None, 4)
        """
        if self._gate is None:
            raise ValueError(f"{self.name!r} is a dense network: it has no gate and no route.")
        return self.sharing(self.inputs, self._gate["routing_weights"], f"{self.name}_router")

    def route(self, x: Array, batch_size: int = 256) -> Array:
        """The route of images: their routing weights.

        Args:
            x: images, float or integer array ``(n, height, width, channels)`` in the model's range.
            batch_size: int.

        Returns:
            float32 array ``(n, experts)``. A zero means that the expert does not run; a row is NaN if its gate met a
            NaN or an infinity.

        Raises:
            ValueError: the model has no gate.

        Example:
            >>> model = keras_moe.models.HydraNet((8, 8, 3), backbone="resnet8", num_experts=4, top_k=2, classes=5)
            >>> route = model.route(np.zeros((3, 8, 8, 3)))
            >>> np.count_nonzero(route, axis=1), route.sum(axis=1).round(3)
            (array([2, 2, 2]), array([1., 1., 1.], dtype=float32))
        """
        if len(x) == 0:
            return np.zeros((0, *self.router.output_shape[1:]), "float32")
        batch_size = integer("route", "batch_size", batch_size, 1)
        return np.asarray(self.router.predict_arrays(x, batch_size=batch_size), "float32")

    def predict_routed(self, x: Array, batch_size: int = 256) -> tuple[Array, Array | None]:
        """Predictions and their route in one pass.

        Args:
            x, batch_size: as for ``route``; at least one image.

        Returns:
            ``(predictions, route)``, two arrays; the route is None for a dense network.

        Example:
            >>> model = keras_moe.models.HydraNet((8, 8, 3), backbone="resnet8", num_experts=4, classes=5)
            >>> predictions, route = model.predict_routed(np.zeros((3, 8, 8, 3)))
            >>> predictions.shape, route.shape
            ((3, 5), (3, 4))
        """
        batch_size = integer("predict_routed", "batch_size", batch_size, 1)
        if self._gate is None:
            return self.predict_arrays(x, batch_size=batch_size), None
        outputs = self.model_with_route.predict_arrays(x, batch_size=batch_size)
        return outputs["prediction"], np.asarray(outputs["routing_weights"], "float32")

    @functools.cached_property
    def model_with_route(self) -> RoutedModel:
        """The model from images to ``"prediction"``, its output, ``"routing_weights"`` and ``"gate_logits"``.

        Example:
            >>> sorted(zoo.load("test_hydranet").model_with_route.output)
            ['gate_logits', 'prediction', 'routing_weights']
        """
        return self.sharing(self.inputs, {"prediction": self.output, **self._gate}, f"{self.name}_with_route")

    def predict_with_route(self, x: Array, route: Array, batch_size: int = 256) -> Array:
        """Predictions under a given route instead of the gate's, for questions such as "what would expert k predict?".

        Args:
            x: images, as for ``route``; at least one.
            route: float array of the shape of ``route(x)``, one row of weights >= 0 per image. A zero means that the
                expert does not run.
            batch_size: int.

        Returns:
            Predictions, an array of the shape of ``predict(x)``.

        Raises:
            ValueError: a dense network, or a route of another shape, negative or not finite.

        Example:
            >>> model = keras_moe.models.HydraNet((8, 8, 3), backbone="resnet8", num_experts=4, classes=5)
            >>> images = np.zeros((2, 8, 8, 3))
            >>> model.predict_with_route(images, np.eye(4)[[0, 3]]).shape  # expert 0, then expert 3
            (2, 5)
            >>> predictions, route = model.predict_routed(images)
            >>> np.allclose(model.predict_with_route(images, route), predictions, atol=1e-5)
            True
        """
        batch_size = integer("predict_with_route", "batch_size", batch_size, 1)
        shape, route = self.router.output_shape, np.asarray(route, "float32")
        fits = route.ndim == len(shape) and route.shape[-1] == shape[-1] and len(route) == len(x) > 0
        if not fits or not np.all(np.isfinite(route)) or route.min() < 0:
            raise ValueError(
                f"predict_with_route: `route` must be finite weights >= 0 of shape {(len(x), *shape[1:])}, a row for "
                f"each of one or more images. Received: shape {route.shape}"
            )
        predictions: Array = self._under_route.predict_arrays(x, route, batch_size=batch_size)
        return predictions

    @functools.cached_property
    def _under_route(self) -> RoutedModel:
        return self.sharing([self.input, self._gate["routing_weights"]], self.output, f"{self.name}_under_route")

    def sharing(self, inputs: Tensor, outputs: Tensor, name: str) -> RoutedModel:
        """A model between symbolic tensors of this one, which shares its layers and its dtype policy.

        Example:
            >>> model = zoo.load("test_hydranet")
            >>> model.sharing(model.inputs, model.gate["gate_logits"], "scores").output_shape
            (None, 4)
        """
        with dtype_scope(self.dtype_policy):
            return RoutedModel(inputs, outputs, name=name, turns=self._turns)

    @property
    def macs_total(self) -> int:
        """Multiply-accumulates of the whole network per image, every expert included, an int.

        Example:
            >>> model = zoo.load("test_hydranet")
            >>> model.macs_total == model.mean_macs(route=np.ones((1, 4)))
            True
        """
        return sum(sum(m) if isinstance(m, list) else m for m in self._macs_of_parts.values())

    def macs_by_part(self) -> Macs:
        """Multiply-accumulates per image of each part, counted by ``keras_moe.cost``.

        Returns:
            dict, part name -> int, or list of int, one per expert, for the part with the experts.

        Raises:
            ValueError: an unknown input size (``None``).

        Example:
            >>> model = keras_moe.models.HydraNet((8, 8, 3), backbone="resnet8", num_experts=2, classes=5)
            >>> macs = model.macs_by_part()
            >>> list(macs), len(macs["branches"])
            (['stem', 'gate', 'branches', 'combiner'], 2)
            >>> macs["combiner"]  # 64 features to 5 classes
            320
        """
        return copy.deepcopy(self._macs_of_parts)

    def mean_macs(self, *, images: Array | None = None, route: Array | None = None) -> float:
        """The mean number of multiply-accumulates executed per image, a float.

        Args:
            images: float or integer array ``(n, height, width, channels)``.
            route: instead of images, their route, array ``(n, experts)``.

        Raises:
            ValueError: an unknown input size (``None``), no rows, both or neither of ``images`` and ``route``, or an
                array of another shape.

        Example:
            >>> model = keras_moe.models.HydraNet((8, 8, 3), backbone="resnet8", num_experts=4, classes=5)
            >>> one, both = np.array([[1, 0, 0, 0]]), np.array([[0, 0, 0.5, 0.5]])
            >>> model.mean_macs(route=both) - model.mean_macs(route=one) == model.macs_by_part()["branches"][0]
            True
        """
        if (images is None) == (route is None):
            raise ValueError("mean_macs: expected either `images` or `route`. Received: both or neither")
        always = sum(m for m in self._macs_of_parts.values() if not isinstance(m, list))
        experts = next((m for m in self._macs_of_parts.values() if isinstance(m, list)), None)
        if experts is None:
            return float(always)
        route = np.asarray(route if images is None else self._route_of(images))
        if route.ndim != 2 or route.shape[1] != len(experts) or len(route) == 0 or route.dtype.kind not in "biuf":
            raise ValueError(
                f"mean_macs: a mean needs at least one row of {len(experts)} weights. Received: {route.dtype} of shape "
                f"{route.shape}"
            )
        return float(always + np.mean((route != 0) @ np.asarray(experts, "float64")))

    def _route_of(self, images: Array) -> Array:
        expected = self.input_shape[1:]
        if not fits(np.shape(images)[1:], expected):
            raise ValueError(f"mean_macs: expected images {(len(images), *expected)}. Received: {np.shape(images)}")
        return self.route(images)

    @property
    def _macs_of_parts(self) -> Macs:
        macs: Macs = self._counted(*self.layers)
        return macs

    @functools.cached_property
    def _counted(self) -> MadeOf:
        return MadeOf(lambda *layers: self._count_macs())  # anew after another expert has taken one's place

    def _count_macs(self) -> Macs:
        return {part: self._macs_of(layers) for part, layers in self.parts.items()}

    def _macs_of(self, layers: list[keras.Layer]) -> int | list[int]:
        if any(isinstance(layer, ExpertBank) for layer in layers):
            bank, shape = layers[0], layers[0].input[0].shape
            return [cost.macs(expert, shape) for expert in bank.experts]
        return sum(cost.macs(layer, *(t.shape for t in keras.tree.flatten(layer.input))) for layer in layers)
