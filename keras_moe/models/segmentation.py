"""Mixture of domain experts for segmentation (Pavlitskaya et al., SAIAD at CVPR 2020, pp. 342-343)."""

import collections.abc
import dataclasses
import functools
import typing

import keras
import numpy as np
from keras import layers, ops

from keras_moe.channels_last import Conv2D
from keras_moe.checks import check
from keras_moe.layer_state import copy_weights
from keras_moe.layers import ExpertBank, TopKGate, WeightedSum
from keras_moe.models import segmentation_gates, segmenters
from keras_moe.models.arguments import remembered
from keras_moe.models.base import ROUTING_DTYPE, MoEModel
from keras_moe.models.partitioned import dtype_scope
from keras_moe.models.segmenter import Segmenter
from keras_moe.models.split_classifier import in_dtype
from keras_moe.models.split_segmenter import check_alike, cut_segmenter
from keras_moe.types import DType, Path, Shape, Tensor

ENSEMBLES = {"mean": layers.Average, "max": layers.Maximum}
_check = functools.partial(check, "SegmentationMoE")


@keras.saving.register_keras_serializable(package="keras_moe")
class SegmentationMoE(MoEModel):
    """Segmentation networks of one architecture, each trained on its own domain, and a gate that weighs their logits.

    ``logits = sum over k of weight_k * logits_k``, before the softmax. As in the paper, the gate reads the encoder
    features of all experts, so that every expert runs for every image. This form adds accuracy and shows the expert
    behind each prediction, but saves no compute. The paper's gates flatten their map, which fixes the image size. Here
    the map is pooled, so that weights fit any size, and the gate per class shares its convolution among the classes.
    The gate per pixel is not in the paper.

    ``sparse=True`` saves compute. The gate then reads the image, shrunk to a quarter, before any expert runs. The best
    expert runs, and any other only if its weight is at least ``drop_below``: an image of which the gate is unsure runs
    several.

    Args:
        input_shape: ``(height, width, channels)``, see ``Segmenter``.
        alpha: float, width multiplier.
        backbone: as for ``Segmenter``. ``from_network`` takes a network of your own.
        num_experts: int >= 2.
        gate_kind: ``"image"`` (the paper's simple gate), ``"class"`` or ``"pixel"``, the unit with its own weights.
        conv: bool, whether a 3x3 convolution from classes to classes, without bias, follows the weighted sum. Its
            initial weights are the identity.
        sparse: bool, see above; only with ``gate_kind="image"``.
        drop_below: float in [0, 1], used with ``sparse``. It may be set after training. 1: one expert for every image.
        include_top: True. There is no form without the head, because the gate weighs logits.
        weights: None, ``"imagenet"`` or a path, as for ``HydraNet``.
        classes: int.
        classifier_activation: ``"softmax"``, or None for logits, the form for training.
        include_preprocessing: bool, whether images are in [0, 255] (True) or in [-1, 1].
        name: str.
        dtype: dtype policy of the layers, or None.

    Call arguments:
        images: float tensor ``(n, height, width, channels)``.

    Returns:
        float32 ``(n, height, width, classes)``. The route is ``(n, experts)``, ``(n, classes, experts)`` or, per pixel
        of the gate's map, ``(n, h, w, experts)``.

    Raises:
        ValueError: an argument out of range, or sizes that are no multiples of the encoder's stride.

    Example:
        >>> model = keras_moe.models.SegmentationMoE((16, 16, 3), 0.5, "resnet8", gate_kind="class", classes=5)
        >>> predictions, route = model.predict_routed(np.zeros((1, 16, 16, 3)))
        >>> predictions.shape, route.shape
        ((1, 16, 16, 5), (1, 5, 2))
    """

    system = "segmentation_moe"

    @remembered
    def __init__(
        self,
        input_shape: Shape = (120, 160, 3),
        alpha: float = 1.0,
        backbone: str = "resnet14",
        num_experts: int = 2,
        gate_kind: str = "image",
        conv: bool = False,
        sparse: bool = False,
        drop_below: float = 0.2,
        include_top: bool = True,
        weights: Path | None = None,
        classes: int = 11,
        classifier_activation: str | None = "softmax",
        include_preprocessing: bool = True,
        name: str = "segmentation_moe",
        dtype: DType = None,
    ) -> None:
        _check("include_top", include_top, include_top, "True: the gate weighs logits")
        with dtype_scope(dtype):
            build = functools.partial(segmenters.build, backbone, input_shape, alpha, classes, include_preprocessing)
            networks = [build(f"expert_{k}", f"expert_{k}_") for k in range(num_experts)]
        gate = _Gate(gate_kind, sparse, drop_below, include_preprocessing)
        self._assemble(networks, gate, conv, classifier_activation, name=name, dtype=dtype)

    @classmethod
    @remembered
    def from_network(
        cls,
        network: keras.Model,
        num_experts: int = 2,
        gate_kind: str = "image",
        conv: bool = False,
        sparse: bool = False,
        drop_below: float = 0.2,
        features: str | None = None,
        weights: Path | None = None,
        classifier_activation: str | None = "softmax",
        include_preprocessing: bool = True,
        name: str = "segmentation_moe",
        dtype: DType = None,
    ) -> "SegmentationMoE":
        """A mixture whose experts are copies of a segmentation network of your own, weights included.

        Args:
            network: a functional network, ``(n, h, w, c)`` to logits ``(n, h, w, classes)``. A softmax at its end is
                removed.
            features: name of the layer whose output the gate reads; None: the last of those with the smallest map.
            weights: None, or the path of a ``.safetensors`` file that replaces the network's weights.
            include_preprocessing: bool, whether the ``sparse`` gate reads images in [0, 255] (True) or in [-1, 1].
            num_experts, gate_kind, conv, sparse, drop_below, classifier_activation, name, dtype: as for the
                constructor.

        Returns:
            A ``SegmentationMoE``.

        Raises:
            ValueError: an argument out of range, image sizes that are no multiples of the features', or a network
                without logits per pixel.

        Example:
            >>> inputs = keras.Input((8, 8, 3))
            >>> network = keras.Model(inputs, keras.layers.Conv2D(5, 3, padding="same")(inputs))
            >>> model = keras_moe.models.SegmentationMoE.from_network(network, classifier_activation=None)
            >>> images = np.ones((1, 8, 8, 3))
            >>> np.allclose(model.predict(images, verbose=0), network.predict(images, verbose=0), atol=1e-5)
            True
        """
        with dtype_scope(dtype):
            source = in_dtype(network, dtype)
            networks = [cut_segmenter(source, features, f"expert_{k}", f"expert_{k}_") for k in range(num_experts)]
        gate = _Gate(gate_kind, sparse, drop_below, include_preprocessing)
        model = cls.__new__(cls)
        model._assemble(networks, gate, conv, classifier_activation, name=name, dtype=dtype)
        return model

    def _assemble(
        self,
        networks: list[keras.Model],
        gate: "_Gate",
        conv: bool,
        classifier_activation: str | None,
        **options: typing.Any,
    ) -> None:
        """Makes the gate, connects the experts and initializes this model with them."""
        num_experts, sparse = len(networks), gate.sparse
        _check("num_experts", num_experts, num_experts >= 2, "an int >= 2: one needs no gate")
        _check("gate_kind", gate.kind, gate.kind in segmentation_gates.KINDS, f"one of {segmentation_gates.KINDS}")
        per_image = gate.kind == "image"
        _check("sparse", sparse, not sparse or per_image, "False unless gate_kind='image': an expert runs, or not")

        with dtype_scope(options["dtype"]):
            # === Layers ===
            input_shape, classes = networks[0].input_shape[1:], networks[0].output_shape[1][-1]
            dropped = gate.drop_below if sparse else 0.0
            top = TopKGate(num_experts, drop_below=dropped, dtype=ROUTING_DTYPE, name="top_k")
            activation = layers.Activation(classifier_activation, dtype="float32", name="probabilities")

            # === Functional model ===
            images = keras.Input(input_shape, name="images")
            if sparse:
                early_gate = segmentation_gates.early_gate(input_shape, num_experts, gate.include_preprocessing)
                gate_logits = early_gate(images)
                routing_weights = top(gate_logits)
                mixed = ExpertBank([_only_logits(n) for n in networks], name="experts")(images, routing_weights)
            else:
                pairs = [network(images) for network in networks]
                joined = layers.Concatenate(name="features")([features for features, _ in pairs])
                feature_gate = segmentation_gates.feature_gate(joined.shape[1:], gate.kind, num_experts, classes)
                gate_logits = feature_gate(joined)
                routing_weights = weights = top(gate_logits)
                if gate.kind == "pixel":
                    weights = segmentation_gates.to_image_size(joined.shape[1:], input_shape)(routing_weights)
                logits = layers.Concatenate(name="logits")([logits for _, logits in pairs])
                mixed = WeightedSum(num_experts, name="weighted_sum")(logits, weights)
            if conv:
                mixed = _identity_conv(classes)(mixed)
            outputs = activation(mixed)

        parts = {
            "experts": ["experts"] if sparse else [network.name for network in networks],
            "gate": ["gate", "top_k"],
            "ensembler": ["conv_predictions", "probabilities"] if conv else ["probabilities"],
        }
        super().__init__(
            images, outputs, parts, {"gate_logits": gate_logits, "routing_weights": routing_weights}, **options
        )
        self.knob = ("drop_below", "top_k") if sparse else None

    @property
    def drop_below(self) -> float:
        """The least weight of a further expert of a sparse model, a float in [0, 1]. It may be set after training.

        Example:
            >>> model = keras_moe.models.SegmentationMoE((16, 16, 3), 0.5, "resnet8", sparse=True, classes=5)
            >>> model.drop_below = 1.0  # one expert for every image
            >>> np.count_nonzero(model.route(np.zeros((2, 16, 16, 3))), axis=1)
            array([1, 1])
        """
        return float(self.get_layer("top_k").drop_below)

    @drop_below.setter
    def drop_below(self, value: float) -> None:
        _check("drop_below", value, self._config["sparse"], "left alone: without `sparse` every expert runs")
        self.get_layer("top_k").drop_below = value

    @property
    def experts(self) -> list[keras.Model]:
        """The experts: models from images to ``[features, logits]``, or to logits if the model is sparse.

        Example:
            >>> len(zoo.load("test_segmentation").experts)
            2
        """
        return self.bank.experts if self.bank else self.parts["experts"]

    def init_from_networks(self, networks: collections.abc.Sequence[keras.Model]) -> None:
        """Copies trained networks into the experts, in order. The gate keeps its weights.

        Args:
            networks: list of ``Segmenter``, or of functional networks as for ``from_network``, one per expert.

        Raises:
            ValueError: another number of networks, other classes, or other layers; the model is unchanged.

        Example:
            >>> tiny = {"input_shape": (16, 16, 3), "alpha": 0.5, "backbone": "resnet8", "classes": 5}
            >>> networks = [keras_moe.models.Segmenter(**tiny) for _ in range(2)]
            >>> model = keras_moe.models.SegmentationMoE(**tiny)
            >>> model.init_from_networks(networks)
            >>> images = np.ones((1, 16, 16, 3))
            >>> prediction = model.predict_with_route(images, np.array([[0.0, 1.0]]))
            >>> np.allclose(prediction, networks[1].predict(images, verbose=0), atol=1e-5)
            True
        """
        if len(networks) != len(self.experts):
            raise ValueError(f"Expected {len(self.experts)} networks, one per expert. Received: {len(networks)}")
        networks = [self._cut(network) for network in networks]
        for k, (network, expert) in enumerate(zip(networks, self.experts, strict=True)):
            check_alike(network, expert, k, self.output_shape[-1])
        for network, expert in zip(networks, self.experts, strict=True):
            copy_weights(network, expert)

    def ensemble(self, how: str = "mean") -> keras.Model:
        """The mean or the maximum of the experts' logits, without the gate.

        Args:
            how: ``"mean"`` or ``"max"``.

        Returns:
            A ``keras.Model`` from images to logits ``(n, h, w, classes)``, which shares its layers with this one.

        Raises:
            ValueError: another ``how``.

        Example:
            >>> model = keras_moe.models.SegmentationMoE((16, 16, 3), 0.5, "resnet8", classes=5)
            >>> model.ensemble("max").output_shape
            (None, 16, 16, 5)
        """
        _check("how", how, how in ENSEMBLES, f"one of {tuple(ENSEMBLES)}")
        logits = ENSEMBLES[how](dtype="float32", name="ensemble")(self._logits())
        return self.sharing(self.input, logits, f"{self.name}_{how}")

    def expert_outputs(self) -> keras.Model:
        """A model from images to the outputs of the gate and of every expert.

        Returns:
            A ``keras.Model`` with outputs ``"experts"`` ``(n, experts, h, w, classes)``, logits of each expert alone,
            ``"gate_logits"``, and ``"prediction"``, this model's output. It shares its layers with this one.

        Example:
            >>> model = keras_moe.models.SegmentationMoE((16, 16, 3), 0.5, "resnet8", classes=5)
            >>> outputs = model.expert_outputs().predict(np.zeros((1, 16, 16, 3)), verbose=0)
            >>> outputs["experts"].shape, outputs["gate_logits"].shape
            ((1, 2, 16, 16, 5), (1, 2))
        """
        stacked = layers.Concatenate(axis=1)([layers.Reshape((1, *y.shape[1:]))(y) for y in self._logits()])
        outputs = {"experts": stacked, "gate_logits": self.gate["gate_logits"], "prediction": self.output}
        return self.sharing(self.input, outputs, f"{self.name}_expert_outputs")

    def _logits(self) -> list[Tensor]:
        outputs = [expert(self.input) for expert in self.experts]
        return outputs if self.bank else [logits for _, logits in outputs]

    def _cut(self, network: keras.Model) -> keras.Model:
        """``network`` in the form of an expert: from images to ``[features, logits]``."""
        if isinstance(network, Segmenter):
            return network.get_layer("network")
        return cut_segmenter(network, self._config.get("features"), "grown", "grown_")


@dataclasses.dataclass(frozen=True)
class _Gate:
    """Arguments of the constructor that concern the gate."""

    kind: str
    sparse: bool
    drop_below: float
    include_preprocessing: bool


def _only_logits(network: keras.Model) -> keras.Model:
    return keras.Model(network.input, network.outputs[1], name=network.name)


@keras.saving.register_keras_serializable(package="keras_moe")
class _Identity(keras.initializers.Initializer):
    """The kernel of a convolution that leaves a map as it is."""

    def __call__(self, shape: Shape, dtype: str | None = None) -> Tensor:
        kernel = np.zeros(shape, "float32")
        kernel[shape[0] // 2, shape[1] // 2] = np.eye(shape[2])
        return ops.convert_to_tensor(kernel, dtype)

    def get_config(self) -> dict[str, typing.Any]:
        return {}


def _identity_conv(classes: int) -> keras.Layer:
    return Conv2D(classes, 3, padding="same", use_bias=False, kernel_initializer=_Identity(), name="conv_predictions")
