"""Mixture of domain experts for segmentation (Pavlitskaya et al., SAIAD at CVPR 2020, pp. 342-343)."""

import collections.abc
import functools

import keras
import numpy as np
from keras import layers

from keras_moe.channels_last import AveragePooling2D, Conv2D, GlobalAveragePooling2D, UpSampling2D, check_network
from keras_moe.checks import check
from keras_moe.graph import open_graph, rebuild
from keras_moe.layer_state import copy_weights, set_weights
from keras_moe.layers import ExpertBank, TopKGate, WeightedSum
from keras_moe.models import backbones, segmenters
from keras_moe.models.arguments import remembered
from keras_moe.models.base import ROUTING_DTYPE, MoEModel
from keras_moe.models.partitioned import dtype_scope
from keras_moe.models.segmenter import Segmenter
from keras_moe.models.split_classifier import in_dtype, without_softmax
from keras_moe.types import DType, Path, Shape

GATES = ("image", "class", "pixel")
ENSEMBLES = {"mean": layers.Average, "max": layers.Maximum}
_check = functools.partial(check, "SegmentationMoE")


@keras.saving.register_keras_serializable(package="keras_moe")
class SegmentationMoE(MoEModel):
    """Segmentation networks of one architecture, each trained on a domain of its own, and a gate that weighs them.

    ``logits = sum over k of weight_k * logits_k``, before the softmax. As in the paper the gate reads the encoder
    features of all experts, so that every expert runs for every image: this form gives insight (who knew this pixel?)
    and accuracy, and saves no compute. The paper's gates flatten their map, which ties them to one image size; here
    it is pooled, so that weights fit any size, and the gate per class shares its convolution among the classes. The
    gate per pixel is not in the paper.

    ``sparse=True`` is the form that saves compute: the gate reads the image itself, shrunk to a quarter, before any
    expert has run. The best expert runs, and any other only where its weight is at least ``drop_below``: an image that
    the gate is unsure about escalates to both.

    Args:
        input_shape: ``(height, width, channels)``, see ``Segmenter``.
        alpha: float, width multiplier.
        backbone: as for ``Segmenter``. ``from_network`` takes a network of your own.
        num_experts: int >= 2.
        gate_kind: ``"image"`` (the paper's simple gate), ``"class"`` or ``"pixel"``: what a row of weights is for.
        conv: bool: a 3x3 convolution, classes to classes without bias, on the weighted logits. It starts as identity.
        sparse: bool, see above; with ``gate_kind="image"`` only.
        drop_below: float in [0, 1], used with ``sparse``; it may be set after training. 1: one expert for every image.
        include_top: True. There is no form without the head: experts meet in their logits.
        weights: None, ``"imagenet"`` or a path, as for ``HydraNet``.
        classes: int.
        classifier_activation: ``"softmax"``, or None for logits, which is what to train with.
        include_preprocessing: bool: takes images in [0, 255] (True) or [-1, 1].
        name: str.
        dtype: dtype policy of the layers, or None.

    Call arguments:
        images: float tensor ``(n, height, width, channels)``.

    Returns:
        float32 ``(n, height, width, classes)``. The route is ``(n, experts)``, ``(n, classes, experts)`` or, per pixel
        of the gate's map, ``(n, h, w, experts)``.

    Raises:
        ValueError: an argument out of range, or sizes that do not divide.
    """

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
        _check("include_top", include_top, include_top, "True: experts meet in their logits")
        with dtype_scope(dtype):
            build = functools.partial(segmenters.build, backbone, input_shape, alpha, classes, include_preprocessing)
            networks = [build(f"expert_{k}", f"expert_{k}_") for k in range(num_experts)]
        gate = {"gate_kind": gate_kind, "sparse": sparse, "drop_below": drop_below}
        gate["include_preprocessing"] = include_preprocessing
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
            network: a functional network, ``(n, h, w, c)`` to logits ``(n, h, w, classes)``; a softmax at its end is
                left off.
            features: name of the layer that the gate reads; None: the last of those with the smallest map.
            weights: None or the path of a ``.safetensors`` file, loaded over the network's.
            include_preprocessing: bool: the ``sparse`` gate gets images in [0, 255] (True) or [-1, 1].
            num_experts, gate_kind, conv, sparse, drop_below, classifier_activation, name, dtype: as for the
                constructor.

        Returns:
            A ``SegmentationMoE``.

        Raises:
            ValueError: an argument out of range, sizes that do not divide, or a network that is none for segmentation.
        """
        with dtype_scope(dtype):
            own = in_dtype(network, dtype)
            networks = [cut_segmenter(own, features, f"expert_{k}", f"expert_{k}_") for k in range(num_experts)]
        gate = {"gate_kind": gate_kind, "sparse": sparse, "drop_below": drop_below}
        gate["include_preprocessing"] = include_preprocessing
        model = cls.__new__(cls)
        model._assemble(networks, gate, conv, classifier_activation, name=name, dtype=dtype)
        return model

    def _assemble(self, networks, gate, conv, classifier_activation, **options):
        """Makes the gate, connects the experts and becomes the model of them.

        ``gate``: dict of ``gate_kind``, ``sparse``, ``drop_below`` and ``include_preprocessing``.
        """
        num_experts, gate_kind, sparse = len(networks), gate["gate_kind"], gate["sparse"]
        _check("num_experts", num_experts, num_experts >= 2, "an int >= 2: one needs no gate")
        _check("gate_kind", gate_kind, gate_kind in GATES, f"one of {GATES}")
        per_image = gate_kind == "image"
        _check("sparse", sparse, not sparse or per_image, "False unless gate_kind='image': an expert runs, or not")

        with dtype_scope(options["dtype"]):
            # === Layers ===
            input_shape, classes = networks[0].input_shape[1:], networks[0].output_shape[1][-1]
            dropped = gate["drop_below"] if sparse else 0.0
            top = TopKGate(num_experts, drop_below=dropped, dtype=ROUTING_DTYPE, name="top_k")
            activation = layers.Activation(classifier_activation, dtype="float32", name="probabilities")

            # === Functional model ===
            images = keras.Input(input_shape, name="images")
            if sparse:
                gate_logits = _early_gate(input_shape, num_experts, gate["include_preprocessing"])(images)
                route = top(gate_logits)
                mixed = ExpertBank([_only_logits(n) for n in networks], name="experts")(images, route)
            else:
                said = [network(images) for network in networks]
                joined = layers.Concatenate(name="features")([features for features, _ in said])
                gate_logits = _gate(joined.shape[1:], gate_kind, num_experts, classes)(joined)
                route = weights_at = top(gate_logits)
                if gate_kind == "pixel":
                    _check_divides(input_shape, joined.shape)
                    factor = tuple(a // b for a, b in zip(input_shape[:2], joined.shape[1:3], strict=True))
                    weights_at = UpSampling2D(factor, interpolation="bilinear", name="weights_up")(route)
                logits = layers.Concatenate(name="logits")([logits for _, logits in said])
                mixed = WeightedSum(num_experts, name="weighted_sum")(logits, weights_at)
            if conv:
                mixed = _identity_conv(classes)(mixed)
            outputs = activation(mixed)

        parts = {
            "experts": ["experts"] if sparse else [network.name for network in networks],
            "gate": ["gate", "top_k"],
            "ensembler": ["conv_predictions", "probabilities"] if conv else ["probabilities"],
        }
        super().__init__(images, outputs, parts, {"gate_logits": gate_logits, "routing_weights": route}, **options)
        self.knob = ("drop_below", "top_k") if sparse else None

    @property
    def drop_below(self) -> float:
        """The weight from which a further expert runs, a float in [0, 1]; it may be set after training."""
        return self.get_layer("top_k").drop_below

    @drop_below.setter
    def drop_below(self, value: float) -> None:
        _check("drop_below", value, self._config["sparse"], "left alone: without `sparse` every expert runs")
        self.get_layer("top_k").drop_below = value

    @property
    def experts(self) -> list[keras.Model]:
        """The experts, models from images to ``[features, logits]``, or to logits if the model is sparse."""
        return self.bank.experts if self.bank else self.parts["experts"]

    def init_from_networks(self, networks: collections.abc.Sequence[keras.Model]) -> None:
        """Copies trained networks into the experts, in order; the gate stays.

        Args:
            networks: list of ``Segmenter``, or of functional networks as for ``from_network``, one per expert.

        Raises:
            ValueError: another number of them, other classes, or other layers; the model is unchanged.
        """
        if len(networks) != len(self.experts):
            raise ValueError(f"Expected {len(self.experts)} networks, one per expert. Received: {len(networks)}")
        networks = [self._cut(network) for network in networks]
        for k, (network, expert) in enumerate(zip(networks, self.experts, strict=True)):
            _check_alike(network, expert, k, self.output_shape[-1])
        for network, expert in zip(networks, self.experts, strict=True):
            copy_weights(network, expert)

    def ensemble(self, how: str = "mean") -> keras.Model:
        """The experts' mean or largest logits without any gate, as a model from images to logits; it shares layers."""
        _check("how", how, how in ENSEMBLES, f"one of {tuple(ENSEMBLES)}")
        logits = ENSEMBLES[how](dtype="float32", name="ensemble")(self._logits())
        return self.sharing(self.input, logits, f"{self.name}_{how}")

    def expert_outputs(self) -> keras.Model:
        """A model from images to what gate and every expert say.

        Returns:
            A ``keras.Model`` with outputs ``"experts"`` ``(n, experts, h, w, classes)``, logits of each expert alone,
            ``"gate_logits"``, and ``"prediction"``, this model's output. It shares its layers with this one.
        """
        stacked = layers.Concatenate(axis=1)([layers.Reshape((1, *y.shape[1:]))(y) for y in self._logits()])
        outputs = {"experts": stacked, "gate_logits": self.gate["gate_logits"], "prediction": self.output}
        return self.sharing(self.input, outputs, f"{self.name}_expert_outputs")

    def _logits(self):
        said = [expert(self.input) for expert in self.experts]
        return said if self.bank else [logits for _, logits in said]

    def _cut(self, network):
        """``network`` as experts are: from images to ``[features, logits]``."""
        if isinstance(network, Segmenter):
            return network.get_layer("network")
        return cut_segmenter(network, self._config.get("features"), "grown", "grown_")


def cut_segmenter(network: keras.Model, features: str | None, name: str, prefix: str) -> keras.Model:
    """Copy of a functional segmentation network, from images to ``[features, logits]``.

    Raises:
        ValueError: several inputs or outputs, no map of classes at its end, unknown sizes, or an unknown layer.
    """
    graph = open_graph(network)
    check_network(network.name, graph.calls)
    calls, _ = without_softmax(graph.calls, network)
    logits = calls[-1].outputs
    if len(graph.inputs) != 1 or len(getattr(logits, "shape", ())) != 4:
        raise ValueError(
            f"Expected a network from one input to logits (n, h, w, classes). Received: {len(graph.inputs)} inputs and "
            f"output {getattr(logits, 'shape', logits)} of {network.name!r}"
        )
    if None in graph.inputs[0].shape[1:]:
        raise ValueError(f"Expected a network of known input sizes. Received: {graph.inputs[0].shape}")
    if logits.shape[1:3] != graph.inputs[0].shape[1:3]:
        raise ValueError(
            f"Expected logits for every pixel of images {graph.inputs[0].shape[1:3]}. Received: {logits.shape[1:3]} of "
            f"{network.name!r}; end it in an UpSampling2D"
        )
    if features is None:
        maps = [call.outputs for call in calls if len(getattr(call.outputs, "shape", ())) == 4]
        maps = [y for y in maps if y.shape[1] > 1]  # not the image as a whole, which some networks pool
        read = min(reversed(maps), key=lambda y: y.shape[1] * y.shape[2])
    else:
        read = calls[graph.index(features)].outputs
    return rebuild(calls, graph.inputs[0], [read, logits], name, prefix)


def _only_logits(network):
    return keras.Model(network.input, network.outputs[1], name=network.name)


def _gate(shape, kind, num_experts, classes):
    x = inputs = keras.Input(shape)
    x = Conv2D(32, 3, padding="same", activation="relu", name="gate_conv")(x)
    if kind == "pixel":
        return keras.Model(inputs, Conv2D(num_experts, 1, dtype=ROUTING_DTYPE, name="gate_logits")(x), name="gate")
    x = GlobalAveragePooling2D(name="gate_pool")(x)
    if kind == "image":
        return keras.Model(inputs, layers.Dense(num_experts, dtype=ROUTING_DTYPE, name="gate_logits")(x), name="gate")
    x = layers.Dense(classes * num_experts, dtype=ROUTING_DTYPE, name="gate_predictions")(x)
    reshape = layers.Reshape((classes, num_experts), dtype=ROUTING_DTYPE, name="gate_logits")
    return keras.Model(inputs, reshape(x), name="gate")


def _early_gate(shape, num_experts, include_preprocessing):
    x = inputs = keras.Input(shape)
    x = backbones.scaling(include_preprocessing)(x)
    x = AveragePooling2D(4, padding="same", name="gate_shrink")(x)
    x = Conv2D(16, 3, 2, "same", activation="relu", name="gate_conv0")(x)
    x = Conv2D(32, 3, 2, "same", activation="relu", name="gate_conv1")(x)
    x = GlobalAveragePooling2D(name="gate_pool")(x)
    return keras.Model(inputs, layers.Dense(num_experts, dtype=ROUTING_DTYPE, name="gate_logits")(x), name="gate")


def _identity_conv(classes):
    conv = Conv2D(classes, 3, padding="same", use_bias=False, name="conv_predictions")
    conv.build((None, None, None, classes))
    kernel = np.zeros((3, 3, classes, classes), "float32")
    kernel[1, 1] = np.eye(classes)
    set_weights(conv, [kernel])
    return conv


def _check_divides(input_shape, shape):
    if any(a % b for a, b in zip(input_shape[:2], shape[1:3], strict=True)):
        raise ValueError(
            f"A gate per pixel needs image sizes that are multiples of those of the features, {shape[1:3]}. Received: "
            f"{input_shape[:2]}; name other `features`"
        )


def _check_alike(network, expert, k, classes):
    logits = network.outputs[-1]
    if logits.shape[-1] != classes:
        raise ValueError(f"Expected networks of {classes} classes. Received: {logits.shape[-1]} of network {k}")
    mine, other = ([_function(layer) for layer in model.layers[1:]] for model in (network, expert))
    shapes = [[tuple(w.shape) for w in model.weights] for model in (network, expert)]
    if shapes[0] != shapes[1] or mine != other:
        raise ValueError(
            f"Network {k} has other layers than expert {k}: {len(shapes[0])} weights against {len(shapes[1])}, or of "
            "other shapes, or used in another way. Experts have one architecture: give all of them one `backbone`, "
            "`alpha` and `include_preprocessing`."
        )


def _function(layer):
    """What tells whether two layers compute the same from the same weights."""
    aside = ("name", "trainable", "dtype", "seed", "initializer", "regularizer", "constraint")
    return type(layer).__name__, str({k: v for k, v in layer.get_config().items() if not k.endswith(aside)})
