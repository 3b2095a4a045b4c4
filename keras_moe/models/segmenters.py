"""Segmentation networks: graphs from images to features for a gate and to logits per pixel.

``deeplab`` follows DeepLabv3+ (Chen et al., ECCV 2018): a backbone down to an eighth or a sixteenth of the image,
parallel dilated convolutions (ASPP), and a decoder that adds the features of an early stage at half or a quarter of the
resolution. It uses the stages of an EfficientNet-Lite down to a sixteenth. The paper's experts have a ResNet-101
pretrained on ImageNet; this network is lighter. ``frrn_a`` is FRRN-A (Pohlen et al., CVPR 2017, section 3): a residual
stream at full resolution, and a pooling stream down to a sixteenth.
"""

import keras
from keras import layers

from keras_moe.channels_last import Conv2D, GlobalAveragePooling2D, MaxPooling2D, UpSampling2D
from keras_moe.checks import check
from keras_moe.models import backbones
from keras_moe.types import Shape, Tensor

FRRN = "frrn_a"
_DILATIONS = (1, 2, 4, 6)
_COARSEST = 16
# Blocks, channels and stride of FRRN-A's groups of full-resolution residual units, down and up again.
_DOWN = ((3, 96, 2), (4, 192, 4), (2, 384, 8), (2, 384, 16))
_UP = ((2, 192, 8), (2, 192, 4), (2, 96, 2))


def build(
    backbone: str,
    input_shape: Shape,
    alpha: float,
    classes: int,
    include_preprocessing: bool,
    name: str,
    prefix: str = "",
) -> keras.Model:
    """A segmentation network: ``(n, h, w, c)`` to ``[features, logits]``.

    Args:
        backbone: ``"frrn_a"``; or a name of ``keras_moe.models.backbones``, the encoder of a DeepLab.
        input_shape: ``(height, width, channels)``, sizes that are multiples of the encoder's stride.
        alpha: float, width multiplier.
        classes: int.
        include_preprocessing: bool, whether images are in [0, 255] (True) or in [-1, 1].
        name: str, of the network.
        prefix: str, the start of the names of its layers.

    Returns:
        A functional ``keras.Model``. ``features`` ``(n, h/s, w/s, f)`` is the ASPP's output, or the end of FRRN-A's
        way down; ``logits`` is ``(n, h, w, classes)``.

    Raises:
        ValueError: an unknown backbone, or sizes that are no multiples of the stride.
    """
    check("Segmenter", "classes", classes, classes >= 2, "an int >= 2")
    spec = None if backbone == FRRN else backbones.get(backbone, alpha)
    step = 16 if spec is None else backbones.strides(spec, _COARSEST)[-1]
    fits = all(size is not None and size % step == 0 for size in input_shape[:2])
    check("Segmenter", "input_shape", input_shape, fits, f"(height, width, channels), sizes multiples of {step}")
    images = keras.Input(input_shape)
    x = backbones.scaling(include_preprocessing, spec)(images)
    if spec is None:
        features, logits = _frrn_a(x, alpha, classes, prefix)
    else:
        features, logits = _deeplab(x, spec, alpha, classes, prefix)
    return keras.Model(images, [features, logits], name=name)


def _deeplab(x: Tensor, spec: backbones.Backbone, alpha: float, classes: int, prefix: str) -> tuple[Tensor, Tensor]:
    maps = backbones.scales(x, spec, prefix, _COARSEST)
    fine, coarse = min(maps), max(maps)
    features = _aspp(maps[coarse], backbones.scale(64, alpha), f"{prefix}aspp")
    width = backbones.scale(32, alpha)
    low = _conv_bn_relu(maps[fine], backbones.scale(16, alpha), 1, f"{prefix}low")
    x = layers.Concatenate(name=f"{prefix}skip")([_up(features, coarse // fine, f"{prefix}up"), low])
    x = _conv_bn_relu(x, width, 3, f"{prefix}decoder0")
    x = _conv_bn_relu(x, width, 3, f"{prefix}decoder1")
    x = Conv2D(classes, 1, name=f"{prefix}predictions")(x)
    return features, _up(x, fine, f"{prefix}logits")


def _aspp(x: Tensor, filters: int, name: str) -> Tensor:
    branches = [
        _conv_bn_relu(x, filters, 1 if rate == 1 else 3, f"{name}_rate{rate}", dilation_rate=rate)
        for rate in _DILATIONS
    ]
    y = layers.Concatenate(name=f"{name}_branches")(branches)
    y = Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_project")(y)
    # The image as a whole is added instead of concatenated: the same linear map, without a copy per pixel.
    image = GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    image = Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_image")(image)
    y = layers.Add(name=f"{name}_add")([y, image])
    y = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(y)
    return layers.ReLU(name=f"{name}_relu")(y)


def _frrn_a(x: Tensor, alpha: float, classes: int, prefix: str) -> tuple[Tensor, Tensor]:
    def width(filters: int) -> int:
        return backbones.scale(filters, alpha)

    def group(y: Tensor, z: Tensor, blocks: int, filters: int, stride: int, name: str) -> tuple[Tensor, Tensor]:
        for i in range(blocks):
            y, z = _frru(y, z, width(filters), stride, f"{name}_block{i}")
        return y, z

    y = _conv_bn_relu(x, width(48), 5, f"{prefix}stem")
    for i in range(3):
        y = _residual_unit(y, f"{prefix}unit{i}")
    z = Conv2D(width(32), 1, use_bias=False, name=f"{prefix}split")(y)
    for i, (blocks, filters, stride) in enumerate(_DOWN):
        y = MaxPooling2D(2, name=f"{prefix}down{i}_pool")(y)
        y, z = group(y, z, blocks, filters, stride, f"{prefix}down{i}")
    features = y
    for i, (blocks, filters, stride) in enumerate(_UP):
        y, z = group(_up(y, 2, f"{prefix}up{i}_up"), z, blocks, filters, stride, f"{prefix}up{i}")
    y = layers.Concatenate(name=f"{prefix}merge")([_up(y, 2, f"{prefix}merge_up"), z])
    y = Conv2D(width(48), 1, use_bias=False, name=f"{prefix}merge_conv")(y)
    for i in range(3, 6):
        y = _residual_unit(y, f"{prefix}unit{i}")
    return features, Conv2D(classes, 1, name=f"{prefix}predictions")(y)


def _residual_unit(x: Tensor, name: str) -> Tensor:
    y = _conv_bn_relu(x, x.shape[-1], 3, f"{name}_conv0")
    y = Conv2D(x.shape[-1], 3, padding="same", use_bias=False, name=f"{name}_conv1")(y)
    y = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_conv1_bn")(y)
    return layers.Add(name=f"{name}_add")([x, y])


def _frru(y: Tensor, z: Tensor, filters: int, stride: int, name: str) -> tuple[Tensor, Tensor]:
    """Full-resolution residual unit: the next values of pooling stream ``y`` and residual stream ``z``."""
    pooled = MaxPooling2D(stride, name=f"{name}_pool")(z)
    y = layers.Concatenate(name=f"{name}_concat")([y, pooled])
    y = _conv_bn_relu(y, filters, 3, f"{name}_conv0")
    y = _conv_bn_relu(y, filters, 3, f"{name}_conv1")
    residual = Conv2D(z.shape[-1], 1, name=f"{name}_residual")(y)
    residual = UpSampling2D(stride, name=f"{name}_up")(residual)
    return y, layers.Add(name=f"{name}_add")([z, residual])


def _conv_bn_relu(x: Tensor, filters: int, size: int, name: str, dilation_rate: int = 1) -> Tensor:
    x = Conv2D(
        filters, size, padding="same", dilation_rate=dilation_rate, use_bias=False, kernel_initializer="he_normal",
        name=name,
    )(x)  # fmt: skip
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _up(x: Tensor, factor: int, name: str) -> Tensor:
    return UpSampling2D(factor, interpolation="bilinear", name=name)(x)
