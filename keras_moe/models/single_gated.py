"""Single-gated mixture of experts (Royer, Karmanov, Skliar, Ehteshami Bejnordi, Blankevoort; BMVC 2022)."""

import functools

import keras
import numpy as np
from keras import layers

from keras_moe.channels_last import Flatten, GlobalAveragePooling2D
from keras_moe.checks import check
from keras_moe.layer_state import copy_weights, set_weights
from keras_moe.layers import EarlyExit, Ensembler, ExpertBank, TopKGate
from keras_moe.models import backbones
from keras_moe.models.arguments import remembered
from keras_moe.models.base import ROUTING_DTYPE, MoEModel
from keras_moe.models.classifier import Classifier
from keras_moe.models.partitioned import dtype_scope
from keras_moe.models.split_classifier import ClassifierSplit, activation_of, in_dtype
from keras_moe.types import Array, DType, Path, Shape

_check = functools.partial(check, "SingleGatedMoE")


@keras.saving.register_keras_serializable(package="keras_moe")
class SingleGatedMoE(MoEModel):
    """A whole classifier, the base, and experts for the images it is not sure about.

    ``images -> trunk -> tail -> base logits``: the base is complete and may answer alone (an early exit). Where it does
    not, the gate, which reads the base's embedding, picks ``top_k`` experts; they read the trunk's features, and the
    answer is the average of base and experts (poster, section 3). Experts are copies of the base's tail; before any
    training the model answers as its base does. ``from_classifier`` takes a base of your own.

    Args:
        input_shape: ``(height, width, channels)``.
        alpha: float, width multiplier of the backbone.
        backbone: ``"resnet<6n+2>"``, ``"litenet"`` or ``"efficientnet_lite<0…4>"``, see
            ``keras_moe.models.backbones``.
        num_experts: int, number of experts.
        top_k: int, experts that run for an image that does not leave early.
        split_at: where the trunk ends: int, stages; or the name of a layer. None: all stages but the last.
        rule: ``"confidence"`` or ``"product"``, how ``threshold`` decides; see ``keras_moe.layers.EarlyExit``.
        threshold: float in [0, 1], or None: nobody leaves early. It may be set after training.
        learned: bool, learn how base and experts are balanced, or average them.
        gate_units: int, width of a hidden layer of the gate; 0: one linear layer.
        include_top: True. There is no form without the head: base and experts meet in their logits, and the early exit
            reads them. For features, see ``embed``.
        weights: None, ``"imagenet"`` or a path, as for ``HydraNet``.
        classes: int.
        dropout_rate: float.
        classifier_activation: ``"softmax"`` or None for logits.
        include_preprocessing: bool: takes images in [0, 255] (True) or [-1, 1].
        name: str.
        dtype: dtype policy of the layers, or None.

    Call arguments:
        images: float tensor ``(n, height, width, channels)``.

    Returns:
        float32 ``(n, classes)``.

    Raises:
        ValueError: an argument out of range, or a layer where one cannot cut.
    """

    knob = ("threshold", "early_exit")

    @remembered
    def __init__(
        self,
        input_shape: Shape = (32, 32, 3),
        alpha: float = 1.0,
        backbone: str = "resnet14",
        num_experts: int = 4,
        top_k: int = 1,
        split_at: int | str | None = None,
        rule: str = "confidence",
        threshold: float | None = None,
        learned: bool = False,
        gate_units: int = 0,
        include_top: bool = True,
        weights: Path | None = None,
        classes: int = 100,
        dropout_rate: float = 0.0,
        classifier_activation: str | None = "softmax",
        include_preprocessing: bool = True,
        name: str = "single_gated",
        dtype: DType = None,
    ) -> None:
        _check("include_top", include_top, include_top, "True: base and experts meet in their logits")
        cut = _end_of_stage(backbone, alpha, split_at)
        with dtype_scope(dtype):
            base = Classifier(
                input_shape, alpha, backbone, classes=classes, dropout_rate=dropout_rate,
                classifier_activation=None, include_preprocessing=include_preprocessing,
            )  # fmt: skip
            split = ClassifierSplit(base, cut)
        early_exit = {"rule": rule, "threshold": threshold}
        self._assemble(
            split, num_experts, top_k, early_exit, learned, gate_units, classifier_activation, name=name, dtype=dtype
        )

    @classmethod
    @remembered
    def from_classifier(
        cls,
        classifier: keras.Model,
        split_at: str | None = None,
        num_experts: int = 4,
        top_k: int = 1,
        rule: str = "confidence",
        threshold: float | None = None,
        learned: bool = False,
        gate_units: int = 0,
        weights: Path | None = None,
        classifier_activation: str | None = "same",
        name: str = "single_gated",
        dtype: DType = None,
    ) -> "SingleGatedMoE":
        """A mixture whose base is a classifier of your own, copied, weights included.

        Args:
            classifier: see ``ClassifierSplit``.
            split_at: name of the trunk's last layer; None: the tail nearest to a third of the multiply-accumulates.
            weights: None or the path of a ``.safetensors`` file, loaded over the classifier's.
            classifier_activation: ``"softmax"``, None for logits, or ``"same"``: as the classifier ends.
            num_experts, top_k, rule, threshold, learned, gate_units, name, dtype: as for the constructor.

        Returns:
            A ``SingleGatedMoE``.

        Raises:
            ValueError: an argument out of range, or a classifier that cannot be cut there.
        """
        with dtype_scope(dtype):
            split = ClassifierSplit(in_dtype(classifier, dtype), split_at)
        activation = activation_of(split, classifier_activation)
        early_exit = {"rule": rule, "threshold": threshold}
        resolved = {"split_at": split.split_at, "classifier_activation": activation}
        model = cls.__new__(cls)
        model._assemble(
            split, num_experts, top_k, early_exit, learned, gate_units, activation, name=name, dtype=dtype,
            resolved=resolved,
        )  # fmt: skip
        return model

    def _assemble(self, split, num_experts, top_k, early_exit, learned, gate_units, classifier_activation, **options):
        """Copies base and experts from ``split``, connects them and becomes the model of them."""
        _check("top_k", top_k, 1 <= top_k <= num_experts, "between 1 and `num_experts`")
        with dtype_scope(options["dtype"]):
            # === Layers ===
            trunk, tail = split.trunk("trunk"), split.tail_and_embedding("tail")
            experts = [split.tail(f"expert_{k}", f"expert_{k}_") for k in range(num_experts)]
            bank = ExpertBank(experts, name="experts")
            gate = _gate(tail.output[1].shape[1:], gate_units, num_experts)

            # === Functional model ===
            images = keras.Input(split.input.shape[1:], dtype=split.input.dtype, name="images")
            features = trunk(images)
            base_logits, embedding = tail(features)
            gate_logits = gate(embedding)
            route = TopKGate(top_k, dtype=ROUTING_DTYPE, name="top_k")(gate_logits)
            leave = EarlyExit(**early_exit, dtype=ROUTING_DTYPE, name="early_exit")
            route = leave(route, gate_logits, base_logits)
            logits = Ensembler(learned, name="ensembler")(base_logits, bank(features, route), route)
            outputs = layers.Activation(classifier_activation, dtype="float32", name="probabilities")(logits)

        parts = {
            "base": ["trunk", "tail"],
            "gate": ["gate", "top_k", "early_exit"],
            "experts": ["experts"],
            "ensembler": ["ensembler", "probabilities"],
        }
        super().__init__(images, outputs, parts, {"gate_logits": gate_logits, "routing_weights": route}, **options)
        self._split_at = split.split_at
        self._tensors = {"features": features, "base": base_logits, "embedding": embedding}

    @property
    def threshold(self) -> float:
        """The early-exit threshold, a float in [0, 1]; it may be set at any time, to None: nobody leaves early."""
        return self.get_layer("early_exit").threshold

    @threshold.setter
    def threshold(self, value: float | None) -> None:
        self.get_layer("early_exit").threshold = value

    def init_from_classifier(self, classifier: keras.Model) -> None:
        """Copies a trained classifier into the base and into every expert; gate and threshold stay.

        Args:
            classifier: one whose layers are those of this model's backbone.

        Raises:
            ValueError: it has other layers, or cannot be cut where this model is.
        """
        split = ClassifierSplit(classifier, self._split_at)
        copy_weights(split.trunk("trunk"), self.get_layer("trunk"))
        copy_weights(split.tail_and_embedding("tail"), self.get_layer("tail"))
        tail = split.tail("expert", "expert_")
        for expert in self.bank.experts:
            copy_weights(tail, expert)

    @property
    def gate_is_hidden(self) -> bool:
        """Whether the gate has a hidden layer, so that it cannot be pointed at centroids."""
        return self._config["gate_units"] > 0

    def point_gate_at(self, centroids: Array) -> None:
        """Sets the gate so that it prefers the nearest centroid: ``-|x - c|^2`` is linear in x, up to a constant.

        Args:
            centroids: float array ``(experts, d)``, in the space of ``embed``.

        Raises:
            ValueError: another shape, or a gate with a hidden layer.
        """
        dense = self.get_layer("gate").layers[-1]
        centroids = np.asarray(centroids, "float32")
        if self.gate_is_hidden or centroids.T.shape != tuple(dense.kernel.shape):
            raise ValueError(
                f"Expected centroids {tuple(dense.kernel.shape)[::-1]} and a gate of one layer. Received: "
                f"{centroids.shape}, gate_units={self._config['gate_units']}"
            )
        spread = max(np.var(centroids, axis=0).sum(), 1e-6)  # logits of the order of one between neighbours
        set_weights(dense, [2 * centroids.T / spread, -(centroids**2).sum(1) / spread])

    def embed(self, images: Array, batch_size: int = 256) -> Array:
        """What the gate reads: float32 ``(n, d)``, the base's embedding, averaged over positions if it has any."""
        return np.asarray(self._embedder.predict(images, batch_size=batch_size, verbose=0), "float32")

    def with_expert(self, k: int) -> keras.Model:
        """Base and expert k on every image, as a model from images to the logits of both, averaged.

        It shares its layers with this one: expert k trains in it alone (poster, training step 4).
        """
        both = [self._tensors["base"], self.bank.experts[k](self._tensors["features"])]
        return self.sharing(self.inputs, layers.Average(name="prediction")(both), f"{self.name}_with_expert_{k}")

    def expert_outputs(self) -> keras.Model:
        """A model from images to what base, gate and every expert say, early exit and route left aside.

        Returns:
            A ``keras.Model`` with outputs ``"base"`` ``(n, classes)``, logits, ``"gate_logits"`` ``(n, experts)`` and
            ``"experts"`` ``(n, experts, classes)``, logits of each expert alone. It shares its layers with this one.
        """
        experts = [layers.Reshape((1, -1))(expert(self._tensors["features"])) for expert in self.bank.experts]
        stacked = layers.Concatenate(axis=1)(experts) if len(experts) > 1 else experts[0]
        outputs = {"base": self._tensors["base"], "gate_logits": self.gate["gate_logits"], "experts": stacked}
        return self.sharing(self.inputs, outputs, f"{self.name}_expert_outputs")

    @functools.cached_property
    def _embedder(self):
        pool = self.get_layer("gate").get_layer("gate_pool")
        return self.sharing(self.inputs, pool(self._tensors["embedding"]), "embedder")


def _gate(shape, units, num_experts):
    x = inputs = keras.Input(shape)
    pool = Flatten if len(shape) == 1 else GlobalAveragePooling2D
    x = pool(name="gate_pool")(x)
    if units:
        x = layers.Dense(units, "relu", name="gate_hidden")(x)
    return keras.Model(inputs, layers.Dense(num_experts, dtype=ROUTING_DTYPE, name="gate_logits")(x), name="gate")


def _end_of_stage(backbone, alpha, split_at):
    """Name of the layer that ends stage ``split_at`` of a named backbone."""
    if isinstance(split_at, str):
        return split_at
    spec = backbones.get(backbone, alpha)
    split_at = len(spec.stages) - 1 if split_at is None else split_at
    _check("split_at", split_at, 1 <= split_at < len(spec.stages), f"in 1…{len(spec.stages) - 1}")
    return backbones.last_layer(spec, split_at - 1)
