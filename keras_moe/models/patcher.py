"""Patcher: patch transformers with mixture of experts for segmentation (Ou et al., MICCAI 2022)."""

import functools
import typing

import keras
from keras import layers

from keras_moe.channels_last import Conv2D, UpSampling2D
from keras_moe.checks import check
from keras_moe.layers import WeightedSum
from keras_moe.models import backbones, patcher_blocks
from keras_moe.models.arguments import remembered
from keras_moe.models.base import ROUTING_DTYPE, MoEModel
from keras_moe.models.partitioned import dtype_scope
from keras_moe.types import DType, Path, Shape

_check = functools.partial(check, "Patcher")


@keras.saving.register_keras_serializable(package="keras_moe")
class Patcher(MoEModel):
    """Segmentation by a cascade of Patcher blocks, with a scale per expert and a gate per pixel.

    ``images -> encoder -> one map per scale -> experts (an MLP per scale, resized to the finest) -> gate -> weighted
    sum -> head -> classes at the image's resolution``. The gate is soft: every expert is computed for every pixel, and
    no compute is saved. The gate adds accuracy and a map of the scales that each pixel relied on (``route``).

    The encoder is the paper's cascade of transformers or, with ``backbone``, a convolutional network that may start
    from ImageNet's weights. The decoder is the same.

    With the transformers a Patcher becomes ONNX on PyTorch alone, and for a fixed number of images. TensorFlow's
    converter writes an operation that ONNX does not have, and PyTorch's needs the shapes of the attention inside
    patches.

    Args:
        input_shape: ``(height, width, channels)``, known sizes. They must be multiples of the area that the large
            patches of each scale cover in the image: 256 for the named sizes. With a ``backbone``, multiples of its
            largest stride: 32 for EfficientNet-Lite.
        size: ``"tiny"``, ``"small"`` or ``"paper"``; or a dict of ``PatcherSize`` fields, the others as in "tiny". With
            a ``backbone`` it gives the decoder's channels alone: ``"tiny"``, or a dict of ``decoder_filters``.
        decoder: ``"moe"``, or ``"sum"`` for an unweighted sum of the scales without a gate.
        drop_path_rate: float in [0, 1), stochastic depth of the last transformer layer. The rate grows linearly from 0
            at the first. A ``backbone`` has no such layers.
        backbone: None, or a name as for ``Classifier``: the encoder is that network without its last convolution. Its
            maps from a quarter of the image's resolution on are the scales; from a half for ``"resnet…"`` and
            ``"litenet"``.
        alpha: float, width multiplier of the backbone.
        include_top: True. There is no form without the head.
        weights: None (random), ``"imagenet"`` or a path, as for ``HydraNet``.
        classes: int.
        dropout_rate: float, before the head's last layer.
        classifier_activation: ``"softmax"``, or None for logits.
        include_preprocessing: bool. True: inputs are in [0, 255]; False: already in [-1, 1].
        name: str.
        dtype: a dtype policy or its name.

    Call arguments:
        images: ``(n, height, width, channels)``.

    Returns:
        float32 ``(n, height, width, classes)``. ``route`` gives ``(n, h, w, scales)`` at the finest scale's resolution.

    Raises:
        ValueError: an argument out of range, or sizes that are no such multiples.

    Example:
        >>> size = {
        ...     "filters": (4, 8), "depths": (1, 1), "heads": (1, 2), "reductions": (2, 1), "patches": (4, 4),
        ...     "contexts": (2, 0), "strides": (2, 2), "mlp_ratio": 1, "decoder_filters": 4,
        ... }
        >>> model = keras_moe.models.Patcher((8, 8, 3), size, classes=2)
        >>> predictions, route = model.predict_routed(np.zeros((1, 8, 8, 3)))
        >>> predictions.shape, route.shape  # the route has a weight per scale for each pixel of the finest map
        ((1, 8, 8, 2), (1, 4, 4, 2))
    """

    system = "patcher"

    @remembered
    def __init__(
        self,
        input_shape: Shape = (256, 256, 3),
        size: str | dict[str, typing.Any] = "tiny",
        decoder: str = "moe",
        drop_path_rate: float = 0.1,
        backbone: str | None = None,
        alpha: float = 1.0,
        include_top: bool = True,
        weights: Path | None = None,
        classes: int = 2,
        dropout_rate: float = 0.1,
        classifier_activation: str | None = "softmax",
        include_preprocessing: bool = True,
        name: str = "patcher",
        dtype: DType = None,
    ) -> None:
        plan = patcher_blocks.resolve(size)
        _check("decoder", decoder, decoder in ("moe", "sum"), "'moe' or 'sum'")
        _check("drop_path_rate", drop_path_rate, 0 <= drop_path_rate < 1, "a float in [0, 1)")
        _check("include_top", include_top, include_top, "True: the decoder ends in its head")
        spec = None if backbone is None else backbones.get(backbone, alpha)
        sized = spec is None or size == "tiny" or (isinstance(size, dict) and list(size) == ["decoder_filters"])
        _check("size", size, sized, "'tiny' or a dict of decoder_filters alone beside a `backbone`")
        multiples = plan.multiples if spec is None else backbones.strides(spec, 32)[-1:]
        divides = all(side and side % m == 0 for side in input_shape[:2] for m in multiples)
        _check("input_shape", input_shape, divides, f"of known sides, multiples of each of {multiples}")

        with dtype_scope(dtype):
            # === Layers ===
            images = keras.Input(input_shape, name="images")
            scaling = backbones.scaling(include_preprocessing, spec)
            if spec is None:
                encoder = patcher_blocks.encoder(input_shape, plan, drop_path_rate)
            else:
                encoder = backbones.encoder(input_shape, spec)
            shapes = [tuple(t.shape[1:]) for t in encoder.outputs]
            experts = [_expert(shape, shapes[0], plan.decoder_filters, f"expert_{i}") for i, shape in enumerate(shapes)]
            gate = _gate((*shapes[0][:2], plan.decoder_filters * len(shapes)), plan.decoder_filters, len(shapes))
            head = _head((*shapes[0][:2], plan.decoder_filters), classes, dropout_rate, input_shape[0] // shapes[0][0])

            # === Functional model ===
            maps = [expert(x) for expert, x in zip(experts, encoder(scaling(images)), strict=True)]
            logits = weights_per_pixel = None
            if decoder == "moe":
                scales = layers.Concatenate(name="scales")(maps)
                logits = gate(scales)
                weights_per_pixel = layers.Softmax(dtype=ROUTING_DTYPE, name="gate_weights")(logits)
                mixed = WeightedSum(len(maps), name="mixture")(scales, weights_per_pixel)
            else:
                mixed = layers.Add(name="mixture")(maps)
            probabilities = layers.Activation(classifier_activation, dtype="float32", name="probabilities")
            outputs = probabilities(head(mixed))

        moe = decoder == "moe"
        super().__init__(
            images,
            outputs,
            parts={
                "encoder": ["scaling", "encoder"],
                "experts": [expert.name for expert in experts],
                **({"gate": ["gate", "gate_weights"]} if moe else {}),
                "head": ["mixture", "head", "probabilities"],
            },
            gate={"gate_logits": logits, "routing_weights": weights_per_pixel} if moe else None,
            name=name,
            dtype=dtype,
        )

    def check_format(self, format: str, input_signature: typing.Any = None) -> None:
        super().check_format(format, input_signature)
        shapes = [tuple(spec.shape) for spec in input_signature or ()]
        fixed = len(shapes) == 1 and None not in shapes[0]
        transformer = self._config["backbone"] is None
        if format == "onnx" and transformer and not (keras.backend.backend() == "torch" and fixed):
            raise ValueError(
                "export: a Patcher of transformers becomes ONNX on PyTorch alone (KERAS_BACKEND=torch), with a fixed "
                "number of images: "
                f"`input_signature=[keras.InputSpec(shape={(1, *self.input_shape[1:])}, dtype='float32')]`. "
                f"Received: input_signature={input_signature} on {keras.backend.backend()}"
            )


def _expert(shape: tuple[int, ...], finest: tuple[int, ...], filters: int, name: str) -> keras.Model:
    """Two linear layers per pixel of one scale's map, and a resize to the finest scale."""
    x = inputs = keras.Input(shape)
    for i in range(2):
        x = layers.Dense(filters, "relu", kernel_initializer="he_normal", name=f"{name}_dense_{i}")(x)
    factors = tuple(a // b for a, b in zip(finest[:2], shape[:2], strict=True))
    if factors != (1, 1):
        x = UpSampling2D(factors, interpolation="bilinear", name=f"{name}_resize")(x)
    return keras.Model(inputs, x, name=name)


def _gate(shape: Shape, filters: int, scales: int) -> keras.Model:
    """Two 3x3 convolutions, each with BatchNorm and ReLU, even on the logits, as in the authors' experiments."""
    x = inputs = keras.Input(shape)
    for i, width in enumerate((filters, scales)):
        x = Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"gate_conv_{i}")(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"gate_bn_{i}")(x)
        x = layers.ReLU(name=f"gate_relu_{i}")(x)
    return keras.Model(inputs, x, name="gate")


def _head(shape: Shape, classes: int, dropout_rate: float, factor: int) -> keras.Model:
    """Three layers per pixel, the classes, and a bilinear resize to the image's resolution."""
    x = inputs = keras.Input(shape)
    for i in range(2):
        x = layers.Dense(shape[-1], "relu", kernel_initializer="he_normal", name=f"head_dense_{i}")(x)
    x = layers.Dense(shape[-1], use_bias=False, kernel_initializer="he_normal", name="head_dense_2")(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="head_bn")(x)
    x = layers.Dropout(dropout_rate, name="head_dropout")(layers.ReLU(name="head_relu")(x))
    x = layers.Dense(classes, name="predictions")(x)
    x = UpSampling2D(factor, interpolation="bilinear", name="head_resize")(x)
    return keras.Model(inputs, x, name="head")
