"""Single-gated mixture of experts (Royer, Karmanov, Skliar, Ehteshami Bejnordi, Blankevoort; BMVC 2022)."""

import functools
import typing

import keras
import numpy as np
from keras import layers, ops

from keras_moe.channels_last import GLOBAL_AVERAGE_POOLING, LAST, Flatten
from keras_moe.checks import check
from keras_moe.layer_state import copy_weights, set_weights
from keras_moe.layers import EarlyExit, Ensembler, ExpertBank, TopKGate
from keras_moe.models import backbones
from keras_moe.models.arguments import remembered
from keras_moe.models.base import ROUTING_DTYPE, MoEModel
from keras_moe.models.classifier import Classifier
from keras_moe.models.growth import grow_from
from keras_moe.models.partitioned import dtype_scope
from keras_moe.models.split_classifier import ClassifierSplit, activation_of, in_dtype
from keras_moe.types import Array, DType, Path, Shape

_check = functools.partial(check, "SingleGatedMoE")


@keras.saving.register_keras_serializable(package="keras_moe")
class SingleGatedMoE(MoEModel):
    """A complete classifier, the base, and experts for the images of which it is not sure.

    ``images -> trunk -> tail -> base logits``: the base may predict alone (an early exit). For other images the gate
    reads the base's embedding and chooses ``top_k`` experts, which read the trunk's features. The prediction is the
    average of base and experts (poster, section 3). Experts start as copies of the base's tail, so that before any
    training the predictions are the base's. ``from_classifier`` takes a base of your own.

    With ``base_size`` the base looks at fewer pixels, and there is no trunk: ``images -> resized -> base logits``, and
    experts are whole networks that read the images themselves. An image of which the base is sure costs the base alone.

    Args:
        input_shape: ``(height, width, channels)``.
        alpha: float, width multiplier of the backbone.
        backbone: ``"resnet<6n+2>"``, ``"litenet"`` or ``"efficientnet_lite<0…4>"``, see
            ``keras_moe.models.backbones``.
        num_experts: int, number of experts.
        top_k: int, experts that run for an image without an early exit.
        split_at: the end of the trunk: int, a number of stages; or the name of a layer. None: all stages but the last.
        rule: ``"confidence"`` or ``"product"``, the rule of the early exit; see ``keras_moe.layers.EarlyExit``.
        threshold: float in [0, 1]; None: no early exit. It may be set after training.
        learned: bool, whether the balance of base and experts is learned instead of a plain average.
        gate_units: int, width of a hidden layer of the gate; 0: one linear layer.
        include_top: True. There is no form without the head: the model averages logits, and the early exit reads them.
            ``embed`` gives features.
        weights: None, ``"imagenet"`` or a path, as for ``HydraNet``.
        classes: int.
        dropout_rate: float.
        classifier_activation: ``"softmax"`` or None for logits.
        include_preprocessing: bool, whether images are in [0, 255] (True) or in [-1, 1].
        blocks: sequence of int or None, the most blocks in each stage, as for ``Classifier``.
        base_size: int or None, the sides in pixels of the images that the base looks at; ``split_at`` must be None
            then.
        expert_blocks: as ``blocks``, of the experts, where ``base_size`` makes them whole networks.
        name: str.
        dtype: dtype policy of the layers, or None.

    Call arguments:
        images: float tensor ``(n, height, width, channels)``.

    Returns:
        float32 ``(n, classes)``.

    Raises:
        ValueError: an argument out of range, or a layer where the base has no cut.

    Example:
        >>> model = keras_moe.models.SingleGatedMoE((8, 8, 3), backbone="resnet8", num_experts=3, classes=5)
        >>> predictions, route = model.predict_routed(np.zeros((2, 8, 8, 3)))
        >>> predictions.shape, np.count_nonzero(route, axis=1)
        ((2, 5), array([1, 1]))
    """

    system = "single_gated"
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
        blocks: Shape | None = None,
        base_size: int | None = None,
        expert_blocks: Shape | None = None,
        name: str = "single_gated",
        dtype: DType = None,
    ) -> None:
        _check("include_top", include_top, include_top, "True: the model averages logits")
        whole = base_size is not None
        _check("split_at", split_at, split_at is None or not whole, "None with `base_size`: experts are whole networks")
        _check("expert_blocks", expert_blocks, expert_blocks is None or whole, "None without `base_size`")

        def network(shape: Shape, most: Shape | None) -> ClassifierSplit:
            classifier = Classifier(
                shape, alpha, backbone, blocks=most, classes=classes, dropout_rate=dropout_rate,
                classifier_activation=None, include_preprocessing=include_preprocessing,
            )  # fmt: skip
            return ClassifierSplit(
                classifier, _end_of_stage(backbones.thinned(backbones.get(backbone, alpha), most), split_at)
            )

        with dtype_scope(dtype):
            base = network((base_size, base_size, input_shape[2]) if whole else input_shape, blocks)
            expert = network(input_shape, expert_blocks) if whole else None
        early_exit = {"rule": rule, "threshold": threshold}
        self._assemble(
            base, num_experts, top_k, early_exit, learned, gate_units, classifier_activation, expert, name=name,
            dtype=dtype,
        )  # fmt: skip

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
        """A mixture whose base is a copy of a classifier of your own, weights included.

        Args:
            classifier: a functional or ``Sequential`` classifier that ends in logits or in a softmax over them. Its
                layers are copied, never changed.
            split_at: name of the trunk's last layer; None: the tail nearest to a third of the multiply-accumulates.
            weights: None, or the path of a ``.safetensors`` file that replaces the classifier's weights.
            classifier_activation: ``"softmax"``, None for logits, or ``"same"`` for the classifier's.
            num_experts, top_k, rule, threshold, learned, gate_units, name, dtype: as for the constructor.

        Returns:
            A ``SingleGatedMoE``.

        Raises:
            ValueError: an argument out of range, or a layer where the classifier has no cut.

        Example:
            >>> inputs = keras.Input((8, 8, 3))
            >>> x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
            >>> x = keras.layers.GlobalAveragePooling2D()(x)
            >>> classifier = keras.Model(inputs, keras.layers.Dense(5, "softmax")(x))
            >>> model = keras_moe.models.SingleGatedMoE.from_classifier(classifier, split_at="conv", num_experts=3)
            >>> images = np.ones((2, 8, 8, 3))
            >>> np.allclose(model.predict(images, verbose=0), classifier.predict(images, verbose=0), atol=1e-5)
            True
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

    def _assemble(
        self,
        split: ClassifierSplit,
        num_experts: int,
        top_k: int,
        early_exit: dict[str, typing.Any],
        learned: bool,
        gate_units: int,
        classifier_activation: str | None,
        whole_expert: ClassifierSplit | None = None,
        **options: typing.Any,
    ) -> None:
        """Copies base and experts from ``split``, connects them and initializes this model with them.

        Experts are copies of ``whole_expert`` if it is given, and the base reads resized images.
        """
        _check("top_k", top_k, 1 <= top_k <= num_experts, "between 1 and `num_experts`")
        with dtype_scope(options["dtype"]):
            # === Images and layers ===
            source = (whole_expert or split).input
            images = keras.Input(source.shape[1:], dtype=source.dtype, name="images")
            if whole_expert:
                base, tail, copy = ["tail"], split.network_and_embedding("tail"), whole_expert.network
                # An operation: Keras' layer ``Resizing`` has what comes after it train where `training` is not said.
                features, of_base = images, ops.image.resize(images, split.input.shape[1:3], data_format=LAST)
            else:
                features = of_base = split.trunk("trunk")(images)
                base, tail, copy = ["trunk", "tail"], split.tail_and_embedding("tail"), split.tail
            experts = [copy(f"expert_{k}", f"expert_{k}_") for k in range(num_experts)]
            bank = ExpertBank(experts, top_k=top_k, name="experts")
            gate = _gate(tail.output[1].shape[1:], gate_units, num_experts)

            # === Functional model ===
            base_logits, embedding = tail(of_base)
            gate_logits = gate(embedding)
            routing_weights = TopKGate(top_k, dtype=ROUTING_DTYPE, name="top_k")(gate_logits)
            routing_weights = EarlyExit(**early_exit, dtype=ROUTING_DTYPE, name="early_exit")(
                routing_weights, gate_logits, base_logits
            )
            logits = Ensembler(learned, name="ensembler")(base_logits, bank(features, routing_weights), routing_weights)
            outputs = layers.Activation(classifier_activation, dtype="float32", name="probabilities")(logits)

        parts = {
            "base": base,
            "gate": ["gate", "top_k", "early_exit"],
            "experts": ["experts"],
            "ensembler": ["ensembler", "probabilities"],
        }
        super().__init__(
            images, outputs, parts, {"gate_logits": gate_logits, "routing_weights": routing_weights}, **options
        )
        self._split_at = None if whole_expert else split.split_at
        self._tensors = {"features": features, "base": base_logits, "embedding": embedding}

    @property
    def threshold(self) -> float:
        """The threshold of the early exit, a float in [0, 1]. It may be set at any time; None switches the exit off.

        Example:
            >>> model = keras_moe.models.SingleGatedMoE((8, 8, 3), backbone="resnet8", num_experts=3, classes=5)
            >>> model.threshold = 0.0  # every image exits early
            >>> model.route(np.zeros((1, 8, 8, 3)))
            array([[0., 0., 0.]], dtype=float32)
        """
        return float(self.get_layer("early_exit").threshold)

    @threshold.setter
    def threshold(self, value: float | None) -> None:
        self.get_layer("early_exit").threshold = value

    def init_from_classifier(self, classifier: keras.Model) -> None:
        """Copies a trained classifier into the base and into every expert. Gate and threshold keep their values.

        Args:
            classifier: a classifier with the layers of this model's backbone.

        Raises:
            ValueError: a classifier with other layers, or without a cut at this model's ``split_at``.

        Example:
            >>> tiny = {"input_shape": (8, 8, 3), "backbone": "resnet8", "classes": 5}
            >>> classifier = keras_moe.models.Classifier(**tiny)
            >>> model = keras_moe.models.SingleGatedMoE(**tiny, num_experts=3)
            >>> model.init_from_classifier(classifier)
            >>> images = np.ones((2, 8, 8, 3))
            >>> np.allclose(model.predict(images, verbose=0), classifier.predict(images, verbose=0), atol=1e-5)
            True
        """
        if self._split_at is None:
            fits, classes = classifier.output_shape == self.output_shape, self.output_shape[-1]
            check("init_from_classifier", "classifier", classifier.output_shape, fits, f"of {classes} classes")
            return grow_from(self, classifier)
        split = ClassifierSplit(classifier, self._split_at)
        copy_weights(split.trunk("trunk"), self.get_layer("trunk"))
        copy_weights(split.tail_and_embedding("tail"), self.get_layer("tail"))
        tail = split.tail("expert", "expert_")
        for expert in self.bank.experts:
            copy_weights(tail, expert)

    @property
    def gate_is_hidden(self) -> bool:
        """Whether the gate has a hidden layer, which ``point_gate_at`` excludes.

        Example:
            >>> keras_moe.models.SingleGatedMoE((8, 8, 3), backbone="resnet8", classes=5, gate_units=16).gate_is_hidden
            True
        """
        return bool(self._config["gate_units"] > 0)

    def point_gate_at(self, centroids: Array) -> None:
        """Sets the gate's weights so that it chooses the nearest centroid.

        ``-|x - c|^2`` is linear in x up to a term that all experts share.

        Args:
            centroids: float array ``(experts, d)`` in the space of ``embed``.

        Raises:
            ValueError: another shape, or a gate with a hidden layer.

        Example:
            >>> model = keras_moe.models.SingleGatedMoE((8, 8, 3), backbone="resnet8", num_experts=2, classes=5)
            >>> images = np.ones((1, 8, 8, 3))
            >>> embedding = model.embed(images)
            >>> model.point_gate_at(np.concatenate([embedding + 1, embedding]))
            >>> model.route(images)
            array([[0., 1.]], dtype=float32)
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
        """The input of the gate: the base's embedding, averaged over positions.

        Args:
            images: float or integer array ``(n, height, width, channels)``.
            batch_size: int.

        Returns:
            float32 array ``(n, d)``.

        Example:
            >>> model = keras_moe.models.SingleGatedMoE((8, 8, 3), backbone="resnet8", classes=5)
            >>> model.embed(np.zeros((2, 8, 8, 3))).shape
            (2, 64)
        """
        return np.asarray(self._embedder.predict(images, batch_size=batch_size, verbose=0), "float32")

    def with_expert(self, k: int) -> keras.Model:
        """The average of base and expert k on every image, for the training of that expert (poster, training step 4).

        Args:
            k: int, index of the expert.

        Returns:
            A ``keras.Model`` from images to logits ``(n, classes)``, which shares its layers with this one.

        Example:
            >>> model = keras_moe.models.SingleGatedMoE((8, 8, 3), backbone="resnet8", classes=5)
            >>> model.with_expert(2).output_shape
            (None, 5)
        """
        both = [self._tensors["base"], self.bank.experts[k](self._tensors["features"])]
        return self.sharing(self.inputs, layers.Average(name="prediction")(both), f"{self.name}_with_expert_{k}")

    def expert_outputs(self) -> keras.Model:
        """A model from images to the outputs of base, gate and every expert, without early exit and route.

        Returns:
            A ``keras.Model`` with outputs ``"base"`` ``(n, classes)``, logits, ``"gate_logits"`` ``(n, experts)`` and
            ``"experts"`` ``(n, experts, classes)``, logits of each expert alone. It shares its layers with this one.

        Example:
            >>> model = keras_moe.models.SingleGatedMoE((8, 8, 3), backbone="resnet8", num_experts=3, classes=5)
            >>> outputs = model.expert_outputs().predict(np.zeros((2, 8, 8, 3)), verbose=0)
            >>> outputs["base"].shape, outputs["gate_logits"].shape, outputs["experts"].shape
            ((2, 5), (2, 3), (2, 3, 5))
        """
        experts = [layers.Reshape((1, -1))(expert(self._tensors["features"])) for expert in self.bank.experts]
        stacked = layers.Concatenate(axis=1)(experts) if len(experts) > 1 else experts[0]
        outputs = {"base": self._tensors["base"], "gate_logits": self.gate["gate_logits"], "experts": stacked}
        return self.sharing(self.inputs, outputs, f"{self.name}_expert_outputs")

    @functools.cached_property
    def _embedder(self) -> keras.Model:
        pool = self.get_layer("gate").get_layer("gate_pool")
        return self.sharing(self.inputs, pool(self._tensors["embedding"]), "embedder")


def _gate(shape: Shape, units: int, num_experts: int) -> keras.Model:
    x = inputs = keras.Input(shape)
    pool = Flatten if len(shape) == 1 else GLOBAL_AVERAGE_POOLING[len(shape)]
    x = pool(name="gate_pool")(x)
    if units:
        x = layers.Dense(units, "relu", name="gate_hidden")(x)
    return keras.Model(inputs, layers.Dense(num_experts, dtype=ROUTING_DTYPE, name="gate_logits")(x), name="gate")


def _end_of_stage(spec: backbones.Backbone, split_at: int | str | None) -> str:
    """Name of the last layer of a backbone's first ``split_at`` stages."""
    if isinstance(split_at, str):
        return split_at
    split_at = len(spec.stages) - 1 if split_at is None else split_at
    _check("split_at", split_at, 1 <= split_at < len(spec.stages), f"in 1…{len(spec.stages) - 1}")
    return backbones.last_layer(spec, split_at - 1)
