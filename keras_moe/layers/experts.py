"""The expert bank: many layers of one shape, of which each row runs only those it chose."""

import typing

import keras

from keras_moe.layers.changes import MadeOf
from keras_moe.layers.dispatch import dispatch
from keras_moe.types import Shape, Tensor

if keras.backend.backend() == "jax":
    from keras_moe.layers.dispatch.jax import Jitted, is_eager
elif keras.backend.backend() == "torch":
    from keras_moe.layers.dispatch.torch import Traced, Traces


@keras.saving.register_keras_serializable(package="keras_moe")
class ExpertBank(keras.layers.Layer):
    """Computes ``sum over k of weights[:, k] * experts[k](features)``, running only what the weights ask for.

    At inference (``predict``, ``model(x)``, inside ``tf.function`` or ``jax.jit``) an expert does no work for a row
    whose weight is zero; a row of zeros runs nothing and gives zeros (an early exit). See ``dispatch`` for how, and
    for what a NaN weight does. In training gradients flow to the chosen experts and to the weights; on TensorFlow and
    PyTorch each expert sees its own rows only, so its BatchNorm statistics are those of its rows; on JAX every expert
    computes the whole batch and its statistics are those of the whole batch.

    Args:
        experts: list of layers or models with equal input and output shapes. They may differ inside.

    Call arguments:
        features: float tensor ``(n, ...)``.
        weights: float tensor ``(n, experts)``, as a ``TopKGate`` makes them.
        training: bool.

    Returns:
        Float tensor ``(n, ...)``, the experts' output shape.

    Raises:
        ValueError: no experts, a width of ``weights`` that is not the number of experts, or experts whose output
            shapes differ.
    """

    def __init__(self, experts: list[keras.Layer], **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        if not experts:
            raise ValueError("ExpertBank: `experts` must be a list of at least one layer. Received: an empty one.")
        self._layers = list(experts)
        if keras.backend.backend() == "jax":
            self._jitted = MadeOf(lambda *experts: Jitted(dispatch, experts))
        if keras.backend.backend() == "torch":
            self._traces = tuple(Traces() for _ in experts)
        if keras.backend.backend() == "tensorflow":
            self.supports_jit = False  # rows per expert are only known at run time; XLA wants them at compile time

    @property
    def experts(self) -> list:
        """List of the experts. One may be replaced by another of the same shapes: ``bank.experts[k] = layer``."""
        return self._layers  # Keras' own list of the layers inside, so that a new one's weights are the bank's

    def build(self, features_shape: Shape, weights_shape: Shape) -> None:
        if weights_shape[-1] != len(self.experts):
            raise ValueError(
                f"ExpertBank: `weights` must be (n, {len(self.experts)}), one column per expert. "
                f"Received: shape {tuple(weights_shape)}"
            )
        for expert in self.experts:
            if not expert.built:
                expert.build(features_shape)
        self.compute_output_shape(features_shape, weights_shape)

    def call(self, features: Tensor, weights: Tensor, training: bool = False) -> Tensor:
        if keras.backend.backend() == "jax" and not training and is_eager(features):
            return self._jitted(*self.experts)(features, weights)
        experts = self.experts
        if keras.backend.backend() == "torch":
            experts = [Traced(*pair) for pair in zip(experts, self._traces, strict=True)]
        return dispatch(experts, features, weights, training=training)

    def compute_output_shape(self, features_shape: Shape, weights_shape: Shape) -> Shape:
        features = keras.KerasTensor(features_shape, self.compute_dtype)
        shapes = [tuple(expert.compute_output_spec(features).shape) for expert in self.experts]
        if len(set(shapes)) != 1:
            raise ValueError(f"ExpertBank: the experts' output shapes must be equal. Received: {shapes}")
        return shapes[0]

    def get_config(self) -> dict:
        experts = [keras.saving.serialize_keras_object(e) for e in self.experts]
        return {**super().get_config(), "experts": experts}

    @classmethod
    def from_config(cls, config: dict) -> "ExpertBank":
        config = dict(config)
        config["experts"] = [keras.saving.deserialize_keras_object(e) for e in config["experts"]]
        return cls(**config)
