"""Backbone families: lists of stages that a model may cut into a stem and branches.

``resnet<6n+2>`` is the CIFAR ResNet (He et al., CVPR 2016, section 4.2): three stages of n basic blocks. ``litenet`` is
a small network of inverted residuals with ReLU6 and without squeeze-and-excite, which quantizes well.
``efficientnet_lite0`` … ``efficientnet_lite4`` are EfficientNet-Lite: EfficientNets (Tan, Le, ICML 2019) without
squeeze-and-excite and with ReLU6, for phones; ``keras_moe.models.imagenet`` has ImageNet weights of the first three.
"""

import collections.abc
import dataclasses
import functools
import itertools
import math
import operator
import re
import typing

import keras
from keras import layers

from keras_moe.channels_last import Conv2D, GlobalAveragePooling2D, GlobalMaxPooling2D
from keras_moe.layers.depthwise import DepthwiseConv2D
from keras_moe.types import Shape, Tensor

Activation: typing.TypeAlias = collections.abc.Callable[..., keras.Layer]


@dataclasses.dataclass(frozen=True)
class Stage:
    """``blocks`` blocks with ``filters`` output channels, the first with stride ``stride``.

    ``kernel`` and ``expansion`` concern inverted residuals.
    """

    filters: int
    blocks: int
    stride: int
    kernel: int = 3
    expansion: int = 4


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A family's block, the first convolution's filters and stride, the stages, and the last convolution's filters.

    ``last`` is 0 where nothing follows the stages. ``rescaling`` is ``(scale, offset)``, from pixels in [0, 255] to the
    input of the first convolution. ``epsilon`` is BatchNorm's.
    """

    block: str
    first: int
    stages: tuple[Stage, ...]
    first_stride: int = 1
    last: int = 0
    rescaling: tuple[float, float] = (1 / 127.5, -1.0)
    epsilon: float = 1e-5


def get(name: str, alpha: float = 1.0) -> Backbone:
    """The ``Backbone`` called ``name``, its channels multiplied by ``alpha``.

    Raises:
        ValueError: an unknown name.
    """
    resnet = re.fullmatch(r"resnet(\d+)", name)
    if resnet and 8 <= int(resnet[1]) <= 1202 and int(resnet[1]) % 6 == 2:
        blocks = (int(resnet[1]) - 2) // 6
        return Backbone("basic", scale(16, alpha), tuple(Stage(scale(f, alpha), blocks, s) for f, s in _RESNET))
    if name == "litenet":
        return Backbone("inverted", scale(16, alpha), tuple(Stage(scale(f, alpha), b, s) for f, b, s in _LITENET))
    if name in _EFFICIENTNET_LITE:
        return _efficientnet_lite(*_EFFICIENTNET_LITE[name], alpha)
    raise ValueError(
        "`backbone` must be 'resnet8', 'resnet14', … (6n+2, to 1202), 'litenet' or 'efficientnet_lite0' … "
        "'efficientnet_lite4'; or, if a model takes one, your own network (of a file: "
        f"`keras.models.load_model(file)`). Received: backbone={name!r}"
    )


def thinned(backbone: Backbone, blocks: collections.abc.Sequence[int] | None) -> Backbone:
    """``backbone`` with at most ``blocks[i]`` blocks in stage i; None: all of them.

    Omitted blocks come after a stage's first one and have a skip connection, so that a thinned copy of a trained
    network computes nearly the same.

    Raises:
        ValueError: not one number for each stage, or one below 1.
    """
    if blocks is None:
        return backbone
    if len(blocks) != len(backbone.stages) or min(blocks) < 1:
        raise ValueError(
            f"Expected `blocks` of {len(backbone.stages)} stages, each at least 1. Received: blocks={blocks!r}"
        )
    stages = zip(backbone.stages, blocks, strict=True)
    return dataclasses.replace(
        backbone, stages=tuple(dataclasses.replace(stage, blocks=min(stage.blocks, most)) for stage, most in stages)
    )


def scale(filters: int, alpha: float) -> int:
    """``filters * alpha``, rounded to a multiple of 8, at least 8 and at least nine tenths of it."""
    rounded = max(8, int(filters * alpha / 8 + 0.5) * 8)
    return rounded if rounded >= 0.9 * filters * alpha else rounded + 8


_RESNET = ((16, 1), (32, 2), (64, 2))
_LITENET = ((16, 1, 1), (24, 2, 2), (48, 2, 2), (96, 2, 2))
# Multipliers of width and depth.
_EFFICIENTNET_LITE = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
    "efficientnet_lite3": (1.2, 1.4),
    "efficientnet_lite4": (1.4, 1.8),
}
# Filters, blocks, stride, kernel and expansion of each stage (EfficientNet, table 1).
_EFFICIENTNET = (
    (16, 1, 1, 3, 1), (24, 2, 2, 3, 6), (40, 2, 2, 5, 6), (80, 3, 2, 3, 6), (112, 3, 1, 5, 6), (192, 4, 2, 5, 6),
    (320, 1, 1, 3, 6),
)  # fmt: skip


def _efficientnet_lite(width: float, depth: float, alpha: float) -> Backbone:
    # Lite scales neither the depth of the first and the last stage nor the width of the first and last convolution.
    deepened = (1, *(math.ceil(stage[1] * depth) for stage in _EFFICIENTNET[1:-1]), 1)
    stages = tuple(
        Stage(scale(filters, width * alpha), blocks, stride, kernel, expansion)
        for blocks, (filters, _, stride, kernel, expansion) in zip(deepened, _EFFICIENTNET, strict=True)
    )
    return Backbone("inverted", scale(32, alpha), stages, 2, scale(1280, alpha), (1 / 128, -127 / 128), 1e-3)


def scaling(include_preprocessing: bool, backbone: Backbone | None = None) -> keras.Layer:
    """The layer from pixels in [0, 255] to the backbone's range, by default [-1, 1].

    Without ``include_preprocessing`` it is the identity: the caller scales the images.
    """
    if include_preprocessing:
        factor, offset = backbone.rescaling if backbone else (1 / 127.5, -1.0)
        return layers.Rescaling(factor, offset=offset, name="scaling")
    return layers.Identity(name="scaling")


def head(
    include_top: bool, classes: int | None, pooling: str | None, dropout_rate: float, activation: str | None, name: str
) -> keras.Sequential:
    """The ``Sequential`` from features to probabilities.

    ``pooling`` (None, ``"avg"`` or ``"max"``) comes first. With ``include_top`` and ``classes``, dropout, ``Dense`` and
    the activation follow. With ``classes=None`` the input is logits, and the head is the activation alone.

    Raises:
        ValueError: an unknown ``pooling``.
    """
    pool = {"avg": GlobalAveragePooling2D, "max": GlobalMaxPooling2D, None: layers.Identity}
    if pooling not in pool:
        raise ValueError(f"`pooling` must be None, 'avg' or 'max'. Received: pooling={pooling!r}")
    if not include_top:
        return keras.Sequential([pool[pooling](name="pool")], name=name)
    probabilities = layers.Activation(activation, dtype="float32", name="probabilities")
    if classes is None:
        return keras.Sequential([probabilities], name=name)
    # Layers whose names end in "predictions" depend on the number of classes; zoo.load rebuilds them.
    pooled = [pool[pooling](name="pool"), layers.Dropout(dropout_rate, name="dropout")]
    return keras.Sequential([*pooled, layers.Dense(classes, name="predictions"), probabilities], name=name)


def first(x: Tensor, backbone: Backbone, prefix: str, stride: int | None = None) -> Tensor:
    """The convolution before the stages: 3x3, with the backbone's stride unless another is given."""
    stride = backbone.first_stride if stride is None else stride
    return _conv_bn(x, backbone, backbone.first, 3, stride, f"{prefix}_conv", _activation(backbone))


def stage(x: Tensor, backbone: Backbone, spec: Stage, prefix: str) -> Tensor:
    """One stage: ``(n, h, w, c)`` to ``(n, ceil(h / stride), ceil(w / stride), filters)``."""
    block = {"basic": _basic, "inverted": _inverted}[backbone.block]
    for i in range(spec.blocks):
        x = block(x, backbone, spec, spec.stride if i == 0 else 1, f"{prefix}_block{i}")
    return x


def last(x: Tensor, backbone: Backbone, prefix: str) -> Tensor:
    """The 1x1 convolution after the stages, where the backbone has one."""
    if not backbone.last:
        return x
    return _conv_bn(x, backbone, backbone.last, 1, 1, f"{prefix}top_conv", _activation(backbone))


def strides(backbone: Backbone, coarsest: int) -> list[int]:
    """Stride of the image at the end of each stage of an encoder, down to ``coarsest``; see ``scales``."""
    ends = itertools.accumulate((stage.stride for stage in backbone.stages), operator.mul, initial=2)
    return [stride for stride in list(ends)[1:] if stride <= coarsest]


def scales(x: Tensor, backbone: Backbone, prefix: str = "", coarsest: int = 32) -> dict[int, Tensor]:
    """A backbone as the encoder of a segmentation network, without its last convolution.

    The first convolution has stride 2, whatever the backbone's own is.

    Args:
        x: images in the backbone's range.
        backbone: a ``Backbone``.
        prefix: str, the start of the names of its layers.
        coarsest: int, the largest stride.

    Returns:
        dict, stride in pixels of the image -> the last map of this resolution, the finest first. The finest is half of
        the image's resolution; a quarter if the backbone itself reaches a half in its first convolution.
    """
    x, maps = first(x, backbone, f"{prefix}stem", stride=2), {}
    for i, stride in enumerate(strides(backbone, coarsest)):
        maps[stride] = x = stage(x, backbone, backbone.stages[i], f"{prefix}stage{i}")
    return {stride: x for stride, x in maps.items() if stride >= 2 * backbone.first_stride}


def encoder(input_shape: Shape, backbone: Backbone) -> keras.Model:
    """A model from images in the backbone's range to the maps of ``scales``, a list, the finest first."""
    images = keras.Input(input_shape)
    return keras.Model(images, list(scales(images, backbone).values()), name="encoder")


def last_layer(backbone: Backbone, index: int) -> str:
    """Name of the last layer of stage ``index`` of a ``Classifier``."""
    spec = backbone.stages[index]
    if backbone.block == "basic":
        return f"stage{index}_block{spec.blocks - 1}_relu"
    before = backbone.first if index == 0 else backbone.stages[index - 1].filters
    residual = spec.blocks > 1 or (spec.stride == 1 and before == spec.filters)
    return f"stage{index}_block{spec.blocks - 1}_{'add' if residual else 'project_bn'}"


def _activation(backbone: Backbone) -> Activation:
    activations: dict[str, Activation] = {"basic": layers.ReLU, "inverted": functools.partial(layers.ReLU, 6.0)}
    return activations[backbone.block]


def _conv_bn(
    x: Tensor, backbone: Backbone, filters: int, size: int, stride: int, name: str, activation: Activation | None = None
) -> Tensor:
    x = Conv2D(filters, size, stride, "same", use_bias=False, kernel_initializer="he_normal", name=name)(x)
    x = _norm(x, backbone, name)
    return activation(name=f"{name}_relu")(x) if activation else x


def _norm(x: Tensor, backbone: Backbone, name: str) -> Tensor:
    return layers.BatchNormalization(momentum=0.9, epsilon=backbone.epsilon, name=f"{name}_bn")(x)


def _basic(x: Tensor, backbone: Backbone, spec: Stage, stride: int, name: str) -> Tensor:
    y = _conv_bn(x, backbone, spec.filters, 3, stride, f"{name}_conv1", layers.ReLU)
    y = _conv_bn(y, backbone, spec.filters, 3, 1, f"{name}_conv2")
    if stride != 1 or x.shape[-1] != spec.filters:
        x = _conv_bn(x, backbone, spec.filters, 1, stride, f"{name}_shortcut")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def _inverted(x: Tensor, backbone: Backbone, spec: Stage, stride: int, name: str) -> Tensor:
    y, activation = x, _activation(backbone)
    if spec.expansion > 1:
        y = _conv_bn(y, backbone, x.shape[-1] * spec.expansion, 1, 1, f"{name}_expand", activation)
    y = DepthwiseConv2D(spec.kernel, stride, "same", use_bias=False, name=f"{name}_depthwise")(y)
    y = activation(name=f"{name}_depthwise_relu")(_norm(y, backbone, f"{name}_depthwise"))
    y = _conv_bn(y, backbone, spec.filters, 1, 1, f"{name}_project")
    if stride == 1 and x.shape[-1] == spec.filters:
        y = layers.Add(name=f"{name}_add")([x, y])
    return y
