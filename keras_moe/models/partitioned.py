"""A functional model of named parts whose configuration is the arguments of its constructor."""

import collections.abc
import contextlib
import copy
import typing

import keras

from keras_moe import settings
from keras_moe.layer_state import set_weights
from keras_moe.models.imagenet import initialize
from keras_moe.models.routed import RoutedModel
from keras_moe.models.split_classifier import describable
from keras_moe.types import Array, DType, Tensor

# Arguments that are networks of the user's own; the class method ``from_<name>`` takes each.
_NETWORKS = ("classifier", "network")


class PartitionedModel(RoutedModel):
    """A functional model whose top-level layers belong to named parts.

    Subclasses build their graph and call ``super().__init__(inputs, outputs, parts=…, name=…)`` in a constructor that
    ``arguments.remembered`` decorates.

    Args:
        inputs, outputs: as for ``keras.Model``.
        parts: dict, part name -> list of names of top-level layers. Each layer of the graph with weights belongs to one
            part; training stages freeze and thaw parts by name.
        dtype: the dtype policy of the layers. ``compile`` scales losses by it.
        resolved: dict of arguments whose values the model chose; they replace the given ones in the configuration.
    """

    knob: tuple[str, str] | None = None  # an argument that may be set later, and the top-level layer that holds it

    def __init__(
        self,
        inputs: Tensor,
        outputs: Tensor,
        parts: dict[str, list[str]],
        dtype: DType = None,
        resolved: dict[str, typing.Any] | None = None,
        **kwargs: typing.Any,
    ) -> None:
        with dtype_scope(dtype):
            super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        self._part_names = {part: tuple(names) for part, names in parts.items()}
        self._resolved = resolved or {}
        self._policy = self.dtype_policy
        self._settings = settings.LayerSettings(self)

    def remember(self, arguments: dict[str, typing.Any]) -> None:
        """Keeps the arguments of the constructor for ``get_config`` and loads their ``"weights"``.

        Args:
            arguments: dict, name -> value.

        Example:
            >>> model = keras_moe.models.Classifier((8, 8, 3), 1.0, "resnet8")  # the constructor's decorator calls it
            >>> model.get_config()["backbone"]
            'resnet8'
        """
        arguments = {**arguments}
        weights = arguments.pop("weights", None)
        networks = {name: settings.serialized(describable(arguments[name])) for name in _NETWORKS if name in arguments}
        self._config: dict[str, typing.Any] = {**arguments, **networks, **self._resolved}
        initialize(self, weights, arguments.get("backbone"), arguments.get("alpha"))

    def get_config(self) -> dict[str, typing.Any]:
        """The constructor's arguments and, as ``"settings"``, later changes of layers; see ``keras_moe.settings``.

        Raises:
            ValueError: a change that a configuration cannot hold, such as another network in place of an expert.
        """
        config, aside = dict(self._config), None
        if self.knob:
            argument, name = self.knob
            aside = self.get_layer(name), argument
            config[argument] = getattr(*aside)
        if "dtype" in config:  # by name, because the global policy may be another when the model is loaded
            config["dtype"] = _plain(config["dtype"] or self._policy)
        changes = self._settings.changes(self, aside)
        return {**config, "settings": changes} if changes or self._settings.frozen else config

    @classmethod
    def from_config(
        cls, config: dict[str, typing.Any], custom_objects: dict[str, typing.Any] | None = None
    ) -> typing.Self:
        config = dict(config)
        changes = config.pop("settings", None)
        make = cls
        for name in _NETWORKS:
            if name in config:
                # Keras modifies the config of a functional model as it reads it; the caller's stays whole.
                network = copy.deepcopy(config[name])
                config[name] = keras.saving.deserialize_keras_object(network, custom_objects)
                make = getattr(cls, f"from_{name}")
        model: typing.Self = make(**config)
        if changes is not None:
            settings.apply(model, changes)
        return model

    def get_compile_config(self) -> dict[str, typing.Any]:
        """The arguments of ``compile`` and, as ``"optimized"``, the indices of the optimizer's variables."""
        config: dict[str, typing.Any] = super().get_compile_config()
        optimizer = getattr(self, "optimizer", None)
        if not config or optimizer is None:
            return config
        index = {id(v): i for i, v in enumerate(self.variables)}
        built = optimizer.built and [index[id(v)] for v in optimizer._trainable_variables]
        return {**config, "optimized": built or None}

    def compile_from_config(self, config: dict[str, typing.Any]) -> None:
        """Compiles as Keras does and builds the optimizer for its former variables, trainable or not."""
        config = keras.saving.deserialize_keras_object(dict(config))
        optimized = config.pop("optimized", None)
        self.compile(**config)
        if optimized:
            self.optimizer.build([self.variables[i] for i in optimized])

    def set_weights(self, weights: list[Array]) -> None:
        """Sets the weights as Keras does and updates the values that layers derive from them.

        Example:
            >>> model = zoo.load("test_hydranet")
            >>> model.set_weights([0 * weight for weight in model.get_weights()])
            >>> model.predict(np.ones((1, 8, 8, 1)), verbose=0).round(3)[0, :3]  # of ten classes
            array([0.1, 0.1, 0.1], dtype=float32)
        """
        set_weights(self, weights)

    @property
    def ends_in_logits(self) -> bool | None:
        """Whether its predictions are logits (True) or probabilities (False); None where its arguments do not say.

        Example:
            >>> [
            ...     keras_moe.models.Classifier((8, 8, 3), 1.0, "resnet8", classifier_activation=last).ends_in_logits
            ...     for last in ("softmax", None)
            ... ]
            [False, True]
        """
        config = getattr(self, "_config", {})
        known = "classifier_activation" in config and config.get("include_top", True)
        return config["classifier_activation"] is None if known else None

    @property
    def takes_pixels(self) -> bool:
        """Whether its images are known to be pixels in [0, 255]; False for a network of your own, which may scale them.

        Example:
            >>> [
            ...     keras_moe.models.Classifier((8, 8, 3), 1.0, "resnet8", include_preprocessing=scales).takes_pixels
            ...     for scales in (True, False)
            ... ]
            [True, False]
        """
        config = getattr(self, "_config", None)
        if config is None or any(name in config for name in _NETWORKS):
            return False
        return bool(config.get("include_preprocessing", True))

    @property
    def parts(self) -> dict[str, list[keras.Layer]]:
        """Dict, part name -> list of layers.

        Example:
            >>> list(zoo.load("test_hydranet").parts)
            ['stem', 'gate', 'branches', 'combiner']
        """
        return {part: [self.get_layer(n) for n in names] for part, names in self._part_names.items()}


@contextlib.contextmanager
def dtype_scope(dtype: DType) -> collections.abc.Iterator[None]:
    """A context whose new layers have the policy ``dtype``, a name or a ``keras.DTypePolicy``; None: the global one.

    Raises:
        ValueError: float64 on JAX while it is switched off, where JAX would compute in float32.
    """
    before = keras.config.dtype_policy()
    policy = before if dtype is None else keras.dtype_policies.get(dtype)
    _check_available(policy)
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _plain(dtype: DType) -> str | dict[str, typing.Any]:
    policy = keras.dtype_policies.get(dtype)
    plain: str | dict[str, typing.Any] = keras.dtype_policies.serialize(policy)
    return str(policy.name) if type(policy) is keras.DTypePolicy else plain


def _check_available(policy: keras.DTypePolicy) -> None:
    if keras.backend.backend() != "jax" or "float64" not in (policy.compute_dtype, policy.variable_dtype):
        return
    import jax.numpy as jnp

    if jnp.result_type(float) != "float64":  # the dtype of a Python number
        raise ValueError(
            'JAX computes in float32 where "float64" is asked for, unless `jax.config.update("jax_enable_x64", True)` '
            f"comes before anything is computed. Received: dtype policy {policy.name!r}"
        )
