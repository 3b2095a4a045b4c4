"""Backbone families: lists of stages that a model may cut into a stem and branches.

``resnet<6n+2>`` is the CIFAR ResNet (He et al., CVPR 2016, section 4.2): three stages of n basic blocks. ``litenet`` is
of the efficient kind: inverted residuals with ReLU6 and no squeeze-and-excite, which quantize well, as in
EfficientNet-Lite.
"""

import dataclasses
import re

import keras
from keras import layers

from keras_moe.channels_last import Conv2D, DepthwiseConv2D, GlobalAveragePooling2D, GlobalMaxPooling2D


@dataclasses.dataclass(frozen=True)
class Stage:
    """``blocks`` blocks with ``filters`` output channels; the first has stride ``stride``."""

    filters: int
    blocks: int
    stride: int


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A family's block, the first convolution's filters and the stages."""

    block: str
    first: int
    stages: tuple[Stage, ...]


def get(name, alpha=1.0):
    """The ``Backbone`` called ``name``, its channels multiplied by ``alpha``.

    Raises:
        ValueError: an unknown name.
    """
    resnet = re.fullmatch(r"resnet(\d+)", name)
    if resnet and int(resnet[1]) >= 8 and int(resnet[1]) % 6 == 2:
        blocks = (int(resnet[1]) - 2) // 6
        return Backbone("basic", scale(16, alpha), tuple(Stage(scale(f, alpha), blocks, s) for f, s in _RESNET))
    if name == "litenet":
        return Backbone("inverted", scale(16, alpha), tuple(Stage(scale(f, alpha), b, s) for f, b, s in _LITENET))
    raise ValueError(
        "`backbone` must be 'resnet8', 'resnet14', … (6n+2) or 'litenet'; or, if a model takes one, your own network "
        f"(of a file: `keras.models.load_model(file)`). Received: backbone={name!r}"
    )


def scale(filters, alpha):
    """``filters * alpha``, rounded to a multiple of 8 and at least 8."""
    return max(8, int(filters * alpha / 8 + 0.5) * 8)


_RESNET = ((16, 1), (32, 2), (64, 2))
_LITENET = ((16, 1, 1), (24, 2, 2), (48, 2, 2), (96, 2, 2))


def scaling(include_preprocessing):
    """[0, 255] to [-1, 1], or nothing when the caller has done it."""
    if include_preprocessing:
        return layers.Rescaling(1 / 127.5, offset=-1.0, name="scaling")
    return layers.Identity(name="scaling")


def head(include_top, classes, pooling, dropout_rate, activation, name):
    """From features to probabilities, as one ``Sequential``.

    ``pooling`` (None, ``"avg"`` or ``"max"``) comes first. With ``include_top`` and ``classes``, dropout, ``Dense`` and
    the activation follow; with ``classes=None`` the input is taken for logits: the activation alone.
    """
    pool = {"avg": GlobalAveragePooling2D, "max": GlobalMaxPooling2D, None: layers.Identity}
    if pooling not in pool:
        raise ValueError(f"`pooling` must be None, 'avg' or 'max'. Received: pooling={pooling!r}")
    if not include_top:
        return keras.Sequential([pool[pooling](name="pool")], name=name)
    probabilities = layers.Activation(activation, dtype="float32", name="probabilities")
    if classes is None:
        return keras.Sequential([probabilities], name=name)
    # Layers whose name ends in "predictions" are those that depend on the number of classes; zoo.load rebuilds them.
    pooled = [pool[pooling](name="pool"), layers.Dropout(dropout_rate, name="dropout")]
    return keras.Sequential([*pooled, layers.Dense(classes, name="predictions"), probabilities], name=name)


def first(x, backbone, prefix, stride=1):
    """The convolution before the stages: 3x3."""
    return _conv_bn(x, backbone.first, 3, stride, f"{prefix}_conv", activation=_activation(backbone))


def stage(x, backbone, spec, prefix):
    """One stage: ``(n, h, w, c)`` to ``(n, ceil(h / stride), ceil(w / stride), filters)``."""
    block = {"basic": _basic, "inverted": _inverted}[backbone.block]
    for i in range(spec.blocks):
        x = block(x, spec.filters, spec.stride if i == 0 else 1, f"{prefix}_block{i}")
    return x


def last_layer(backbone, index):
    """Name of the last layer of stage ``index`` of a ``Classifier``."""
    spec = backbone.stages[index]
    if backbone.block == "basic":
        return f"stage{index}_block{spec.blocks - 1}_relu"
    before = backbone.first if index == 0 else backbone.stages[index - 1].filters
    residual = spec.blocks > 1 or (spec.stride == 1 and before == spec.filters)
    return f"stage{index}_block{spec.blocks - 1}_{'add' if residual else 'project_bn'}"


def _activation(backbone):
    return {"basic": layers.ReLU, "inverted": lambda **kw: layers.ReLU(6.0, **kw)}[backbone.block]


def _conv_bn(x, filters, size, stride, name, activation=None):
    x = Conv2D(filters, size, stride, "same", use_bias=False, kernel_initializer="he_normal", name=name)(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)
    return activation(name=f"{name}_relu")(x) if activation else x


def _basic(x, filters, stride, name):
    y = _conv_bn(x, filters, 3, stride, f"{name}_conv1", layers.ReLU)
    y = _conv_bn(y, filters, 3, 1, f"{name}_conv2")
    if stride != 1 or x.shape[-1] != filters:
        x = _conv_bn(x, filters, 1, stride, f"{name}_shortcut")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def _inverted(x, filters, stride, name, expansion=4):
    def relu6(**kwargs):
        return layers.ReLU(6.0, **kwargs)

    y = _conv_bn(x, x.shape[-1] * expansion, 1, 1, f"{name}_expand", relu6)
    y = DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_depthwise")(y)
    y = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_depthwise_bn")(y)
    y = _conv_bn(layers.ReLU(6.0, name=f"{name}_depthwise_relu")(y), filters, 1, 1, f"{name}_project")
    if stride == 1 and x.shape[-1] == filters:
        y = layers.Add(name=f"{name}_add")([x, y])
    return y
