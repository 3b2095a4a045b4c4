"""The gates of segmentation mixtures: from the experts' features, or from the image, to gate logits."""

import keras
from keras import layers

from keras_moe.channels_last import AveragePooling2D, Conv2D, GlobalAveragePooling2D, UpSampling2D
from keras_moe.models import backbones
from keras_moe.models.base import ROUTING_DTYPE
from keras_moe.types import Shape

KINDS = ("image", "class", "pixel")


def feature_gate(shape: Shape, kind: str, num_experts: int, classes: int) -> keras.Model:
    """The gate that reads the experts' features.

    Args:
        shape: ``(h, w, f)`` of the features of all experts.
        kind: ``"image"``, ``"class"`` or ``"pixel"``.
        num_experts: int.
        classes: int.

    Returns:
        A model to gate logits ``(n, experts)``, ``(n, classes, experts)`` or ``(n, h, w, experts)``.
    """
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


def early_gate(shape: Shape, num_experts: int, include_preprocessing: bool) -> keras.Model:
    """The gate that reads the image before any expert runs: a model from images to gate logits ``(n, experts)``."""
    x = inputs = keras.Input(shape)
    x = backbones.scaling(include_preprocessing)(x)
    x = AveragePooling2D(4, padding="same", name="gate_shrink")(x)
    x = Conv2D(16, 3, 2, "same", activation="relu", name="gate_conv0")(x)
    x = Conv2D(32, 3, 2, "same", activation="relu", name="gate_conv1")(x)
    x = GlobalAveragePooling2D(name="gate_pool")(x)
    return keras.Model(inputs, layers.Dense(num_experts, dtype=ROUTING_DTYPE, name="gate_logits")(x), name="gate")


def to_image_size(features: Shape, images: Shape) -> keras.Layer:
    """The layer that resizes weights per pixel of the features to the images.

    Args:
        features: ``(h, w, …)``.
        images: ``(height, width, …)``.

    Raises:
        ValueError: image sizes that are no multiples of the features'.
    """
    sizes = list(zip(images[:2], features[:2], strict=True))
    if any(a is None or not b or a % b for a, b in sizes):
        raise ValueError(
            f"A gate per pixel needs image sizes that are multiples of those of the features, {tuple(features[:2])}. "
            f"Received: {tuple(images[:2])}; name other `features`"
        )
    factors = tuple(a // b for a, b in sizes if a and b)
    return UpSampling2D(factors, interpolation="bilinear", name="weights_up")
