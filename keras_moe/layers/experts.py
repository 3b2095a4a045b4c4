"""The expert bank: layers of equal shapes, each of which runs only on the rows that chose it."""

import typing

import keras

from keras_moe.checks import integer
from keras_moe.layers.changes import MadeOf
from keras_moe.layers.dispatch import dispatch
from keras_moe.older_names import OlderNames
from keras_moe.types import Shape, Tensor

if keras.backend.backend() == "jax":
    from keras_moe.layers.dispatch.jax import Jitted, is_eager
elif keras.backend.backend() == "torch":
    from keras_moe.layers.torch_traces import Traced, Traces


@keras.saving.register_keras_serializable(package="keras_moe")
class ExpertBank(OlderNames):
    """Computes ``sum over k of routing_weights[:, k] * experts[k](features)`` and runs only the chosen experts.

    At inference (``predict``, ``model(x)``, inside ``tf.function`` or ``jax.jit``) an expert does no work for a row
    whose weight is zero. A row of zeros runs nothing and returns zeros: an early exit. A row with a NaN runs every
    expert and returns NaN. ``keras_moe.layers.dispatch`` describes the algorithms.

    In training gradients flow to the chosen experts and to the routing weights. Each expert sees its own rows only, and
    so do its BatchNorm statistics. On JAX that needs experts that are alike and of Keras' layers, on one device; others
    compute the whole batch, and their statistics are those of the whole batch.

    Args:
        experts: list of layers or models with equal input and output shapes. Their inner layers may differ.
        top_k: int or None, the most experts that a row has in training; None: all. JAX sets aside memory for so many.
            A batch with more, on average, is right, but slower.

    Call arguments:
        features: float tensor ``(n, ...)``.
        routing_weights: float tensor ``(n, experts)``, the output of a ``TopKGate``.
        training: bool.

    Returns:
        Float tensor ``(n, ...)``, the experts' output shape.

    Raises:
        ValueError: no experts, ``top_k`` out of range, a width of ``routing_weights`` other than the number of experts,
            or different output shapes.

    Example:
        >>> bank = keras_moe.layers.ExpertBank([keras.layers.Rescaling(1.0), keras.layers.Rescaling(10.0)])
        >>> features = np.array([[1.0], [2.0], [4.0]])
        >>> routing_weights = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 0.0]])  # one expert, both, none
        >>> keras.ops.convert_to_numpy(bank(features, routing_weights))
        array([[ 1.],
               [11.],
               [ 0.]], dtype=float32)
    """

    older_names: typing.ClassVar = {"weights": "routing_weights"}

    def __init__(self, experts: list[keras.Layer], top_k: int | None = None, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        if not experts:
            raise ValueError("ExpertBank: `experts` must be a list of at least one layer. Received: an empty one.")
        self._layers = list(experts)
        self.top_k: int | None = integer("ExpertBank", "top_k", top_k, 1, or_none=True)
        if keras.backend.backend() == "jax":
            self._jitted = MadeOf(lambda *experts: Jitted(dispatch, experts))
        if keras.backend.backend() == "torch":
            self._traces = tuple(Traces() for _ in experts)
        if keras.backend.backend() == "tensorflow":
            self.supports_jit = False  # rows per expert are only known at run time; XLA wants them at compile time

    @property
    def experts(self) -> list[keras.Layer]:
        """List of the experts. ``bank.experts[k] = layer`` replaces one by another of the same shapes.

        Example:
            >>> bank = keras_moe.layers.ExpertBank([keras.layers.Rescaling(1.0), keras.layers.Rescaling(10.0)])
            >>> bank.experts[1] = keras.layers.Rescaling(100.0)
            >>> keras.ops.convert_to_numpy(bank(np.array([[3.0]]), np.array([[0.0, 1.0]])))
            array([[300.]], dtype=float32)
        """
        return self._layers  # Keras' own list of inner layers, so that the weights of a new one are the bank's

    def build(self, features_shape: Shape, routing_weights_shape: Shape) -> None:
        if len(routing_weights_shape) != 2 or routing_weights_shape[-1] != len(self.experts):
            raise ValueError(
                f"ExpertBank: `routing_weights` must be (n, {len(self.experts)}), one column per expert. "
                f"Received: shape {tuple(routing_weights_shape)}"
            )
        for expert in self.experts:
            if not expert.built:
                expert.build(features_shape)
        self.compute_output_shape(features_shape, routing_weights_shape)

    def call(self, features: Tensor, routing_weights: Tensor, training: bool = False) -> Tensor:
        if keras.backend.backend() == "jax" and not training and is_eager(features):
            return self._jitted(*self.experts)(features, routing_weights)
        experts = self.experts
        if keras.backend.backend() == "torch":
            experts = [Traced(*pair) for pair in zip(experts, self._traces, strict=True)]
        return dispatch(experts, features, routing_weights, training=training, top_k=self.top_k)

    def compute_output_shape(self, features_shape: Shape, routing_weights_shape: Shape) -> Shape:
        features = keras.KerasTensor(features_shape, self.compute_dtype)
        specs = [expert.compute_output_spec(features) for expert in self.experts]
        for expert, spec in zip(self.experts, specs, strict=True):
            if not isinstance(spec, keras.KerasTensor):
                raise ValueError(
                    f"ExpertBank: each expert must return one tensor. Received: {expert.name!r}, which returns a "
                    f"{type(spec).__name__} of {len(spec)}; make a bank for each, with the same routing weights."
                )
        shapes = [tuple(spec.shape) for spec in specs]
        if len(set(shapes)) != 1:
            raise ValueError(f"ExpertBank: the experts' output shapes must be equal. Received: {shapes}")
        return shapes[0]

    def get_config(self) -> dict[str, typing.Any]:
        experts = [keras.saving.serialize_keras_object(e) for e in self.experts]
        return {**super().get_config(), "experts": experts, "top_k": self.top_k}

    @classmethod
    def from_config(cls, config: dict[str, typing.Any]) -> "ExpertBank":
        config = dict(config)
        config["experts"] = [keras.saving.deserialize_keras_object(e) for e in config["experts"]]
        return cls(**config)
