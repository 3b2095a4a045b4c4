"""What every model of the package answers: its parts, its route, its cost."""

import contextlib
import copy
import functools

import keras
import numpy as np

from keras_moe import cost
from keras_moe.layers import ExpertBank, inference_only
from keras_moe.models.served import ServedModel


class RoutedModel(ServedModel):
    """A functional model whose ``predict`` and ``evaluate`` promise its expert banks that no gradient is wanted."""

    def predict_step(self, *args):
        with inference_only():
            return super().predict_step(*args)

    def test_step(self, *args):
        with inference_only():
            return super().test_step(*args)


class MoEModel(RoutedModel):
    """A functional model whose top-level layers belong to named parts.

    Subclasses build their graph and call ``super().__init__(inputs, outputs, parts=…, gate=…, name=…)``.

    Args:
        inputs, outputs: as for ``keras.Model``.
        parts: dict, part name -> list of names of top-level layers. Each layer of the graph that has weights
            belongs to one part; training stages freeze and thaw parts by name.
        gate: dict with the symbolic tensors ``"logits"`` and ``"weights"``, each ``(n, experts)``, or
            ``(n, …, experts)`` of a gate that weighs classes or pixels; None for a network without a gate.
    """

    answers = "classes"  # what the output holds: scores of "classes" along its last axis, or an "image"

    def __init__(self, inputs, outputs, parts, gate=None, **kwargs):
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        self._part_names = {part: tuple(names) for part, names in parts.items()}
        self._gate = gate

    def get_config(self):
        return dict(self._config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        if isinstance(config.get("backbone"), dict):
            # Keras takes a functional model's config apart as it reads it; the caller's stays whole.
            backbone = copy.deepcopy(config["backbone"])
            config["backbone"] = keras.saving.deserialize_keras_object(backbone, custom_objects)
        return cls(**config)

    @property
    def parts(self):
        """Dict, part name -> list of layers."""
        return {part: [self.get_layer(n) for n in names] for part, names in self._part_names.items()}

    @property
    def bank(self):
        """The model's ``ExpertBank``, or None."""
        return next((layer for layer in self.layers if isinstance(layer, ExpertBank)), None)

    @property
    def gate(self):
        """Symbolic ``{"logits": (n, experts), "weights": (n, experts)}``, for training the gate. None without one."""
        return self._gate

    @functools.cached_property
    def router(self):
        """The model from images to routing weights; it shares all its layers with this one."""
        if self._gate is None:
            raise ValueError(f"{self.name!r} is a dense network: it has no gate and no route.")
        return RoutedModel(self.inputs, self._gate["weights"], name=f"{self.name}_router", turns=self._turns)

    def route(self, x, batch_size=256):
        """Routing weights of images, float array ``(n, experts)``: zero where an expert does not run, NaN for a
        row whose gate met a NaN or an infinity.

        Args:
            x: images, float or integer array ``(n, height, width, channels)``, in the range the model takes.
            batch_size: int.

        Raises:
            ValueError: the model has no gate.
        """
        if len(x) == 0:
            return np.zeros((0, *self.router.output_shape[1:]), "float32")
        return np.asarray(self.router.predict(x, batch_size=batch_size, verbose=0), "float32")

    def predict_routed(self, x, batch_size=256):
        """Predictions and the route that led to them, in one pass.

        Args:
            x, batch_size: as for ``route``; at least one image.

        Returns:
            ``(predictions, route)``: arrays, ``route`` None for a dense network.
        """
        if self._gate is None:
            return self.predict(x, batch_size=batch_size, verbose=0), None
        both = self.observed.predict(x, batch_size=batch_size, verbose=0)
        return both["answer"], np.asarray(both["route"], "float32")

    @functools.cached_property
    def observed(self):
        """The model from images to ``"answer"``, its output, ``"route"`` and ``"gate"``, the gate's logits."""
        outputs = {"answer": self.output, "route": self._gate["weights"], "gate": self._gate["logits"]}
        return RoutedModel(self.inputs, outputs, name=f"{self.name}_observed", turns=self._turns)

    def predict_under(self, x, route, batch_size=256):
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
        shape, route = self.router.output_shape, np.asarray(route, "float32")
        fits = route.ndim == len(shape) and route.shape[-1] == shape[-1] and len(route) == len(x) > 0
        if not fits or not np.all(np.isfinite(route)) or route.min() < 0:
            raise ValueError(
                f"predict_under: `route` must be finite weights >= 0 of shape {(len(x), *shape[1:])}, a row for each "
                f"of one or more images. Received: shape {route.shape}"
            )
        return self._under_route.predict([x, route], batch_size=batch_size, verbose=0)

    @functools.cached_property
    def _under_route(self):
        inputs = [self.input, self._gate["weights"]]
        return RoutedModel(inputs, self.output, name=f"{self.name}_under_route", turns=self._turns)

    @property
    def macs_total(self):
        """Multiply-accumulates of the whole network per image, every expert included. int."""
        return sum(sum(m) if isinstance(m, list) else m for m in self._macs_of_parts.values())

    def macs(self, x=None):
        """Multiply-accumulates per image (see ``keras_moe.cost`` for what counts).

        Args:
            x: None, or images ``(n, height, width, channels)``, or their route ``(n, experts)``.

        Returns:
            Without ``x`` a dict, part name -> int, or -> list of int for a part of experts. With ``x`` a float: the
            mean executed per image.

        Raises:
            ValueError: an input size that is unknown (``None``), or an empty ``x``.
        """
        parts = self._macs_of_parts
        if x is None:
            return dict(parts)
        always = sum(m for m in parts.values() if not isinstance(m, list))
        experts = next((m for m in parts.values() if isinstance(m, list)), None)
        if experts is None:
            return float(always)
        if len(x) == 0:
            raise ValueError("macs: a mean needs at least one image. Received: none")
        route = np.asarray(x) if np.ndim(x) == 2 else self.route(x)
        return float(always + np.mean((route != 0) @ np.asarray(experts, "float64")))

    @functools.cached_property
    def _macs_of_parts(self):
        return {part: self._macs_of(layers) for part, layers in self.parts.items()}

    def _macs_of(self, layers):
        if any(isinstance(layer, ExpertBank) for layer in layers):
            bank, shape = layers[0], layers[0].input[0].shape
            return [cost.macs(expert, shape) for expert in bank.experts]
        return sum(cost.macs(layer, *(t.shape for t in _as_list(layer.input))) for layer in layers)


@contextlib.contextmanager
def dtype_scope(dtype):
    """Layers made inside take ``dtype`` (a name or ``keras.DTypePolicy``) as their policy; None changes nothing."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(before if dtype is None else keras.dtype_policies.get(dtype))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _as_list(x):
    return list(x) if isinstance(x, (list, tuple)) else [x]
