"""Super-resolution networks of growing width, the branches of a ClassSR (CVPR 2021, section 3).

Each takes RGB patches ``(n, h, w, 3)`` in [0, 1] of any size and returns ``(n, scale * h, scale * w, 3)``. The widest
of a family is the original network; the others only have fewer channels. Papers: FSRCNN (ECCV 2016), CARN-M (ECCV
2018), SRResNet without BatchNorm (CVPR 2017, as MSRResNet), RCAN (ECCV 2018).
"""

import collections.abc

import keras
import numpy as np
from keras import layers

from keras_moe.channels_last import Conv2D, Conv2DTranspose, GlobalAveragePooling2D, UpSampling2D
from keras_moe.checks import check
from keras_moe.layer_state import set_weights
from keras_moe.layers import PixelShuffle
from keras_moe.types import Tensor

WIDTHS = {"fsrcnn": (16, 36, 56), "carn": (36, 52, 64), "srresnet": (36, 52, 64), "rcan": (36, 50, 64)}
SCALES = (2, 3, 4)

_DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


def widths(backbone: str) -> tuple[int, ...]:
    """The paper's widths of a family's branches, cheapest first.

    Raises:
        ValueError: an unknown ``backbone``.
    """
    check("branch", "backbone", backbone, backbone in WIDTHS, f"one of {list(WIDTHS)}")
    return WIDTHS[backbone]


def branch(backbone: str, width: int, scale: int, name: str) -> keras.Model:
    """The functional model of one branch.

    Args:
        backbone: ``"fsrcnn"``, ``"carn"``, ``"srresnet"`` or ``"rcan"``.
        width: int, channels; a multiple of 4 for CARN (its groups), at least 16 for RCAN (its reduction).
        scale: 2, 3 or 4.
        name: str, of the model, and the start of its layers' names.

    Raises:
        ValueError: an argument out of range.
    """
    least = {"fsrcnn": 3, "carn": 4, "srresnet": 1, "rcan": 16}
    widths(backbone)
    check("branch", "scale", scale, scale in SCALES, f"one of {SCALES}")
    fits = isinstance(width, int) and width >= least[backbone] and (backbone != "carn" or width % 4 == 0)
    check("branch", "width", width, fits, f"an int >= {least[backbone]}, for CARN a multiple of 4")
    families: dict[str, collections.abc.Callable[[Tensor, int, int, str], Tensor]] = {
        "fsrcnn": _fsrcnn,
        "carn": _carn,
        "srresnet": _srresnet,
        "rcan": _rcan,
    }
    images = keras.Input((None, None, 3))
    return keras.Model(images, families[backbone](images, width, scale, f"{name}_"), name=name)


def start_as_interpolation(fsrcnn: keras.Model) -> None:
    """Sets an FSRCNN's weights to linear interpolation, as a start for training instead of noise.

    Three channels carry the three colours (PReLU keeps positive numbers) into a linear kernel. The other channels keep
    their random weights; a tenth of those of the last layer remains.
    """
    *body, last = [layer for layer in fsrcnn.layers if isinstance(layer, (layers.Conv2D, layers.Conv2DTranspose))]
    for layer in body:
        kernel, bias = layer.get_weights()
        middle = kernel.shape[0] // 2
        kernel[..., :3] = 0
        kernel[middle, middle, :3, :3] = np.eye(3)
        set_weights(layer, [kernel, bias])
    kernel, bias = last.get_weights()
    size, scale = kernel.shape[0], last.strides[0]
    centre = (size - scale) // 2 + (scale - 1) / 2
    ramp = np.maximum(0, 1 - np.abs(np.arange(size) - centre) / scale)
    kernel *= 0.1
    kernel[..., :3] = np.outer(ramp, ramp)[..., None, None] * np.eye(3)
    set_weights(last, [kernel, bias])


def _fsrcnn(x: Tensor, width: int, scale: int, name: str, shrunk: int = 12, mappings: int = 4) -> Tensor:
    def prelu(x: Tensor, of: str) -> Tensor:
        # One slope a layer, as the paper's parameter counts have it.
        slope = keras.initializers.Constant(0.25)
        return layers.PReLU(slope, shared_axes=[1, 2, 3], name=f"{name}{of}_prelu")(x)

    x = prelu(_conv(x, width, 5, f"{name}features"), "features")
    x = prelu(_conv(x, shrunk, 1, f"{name}shrink"), "shrink")
    for i in range(mappings):
        x = _conv(x, shrunk, 3, f"{name}map{i}")
    x = prelu(x, "map")
    x = prelu(_conv(x, width, 1, f"{name}expand"), "expand")
    return Conv2DTranspose(3, 9, scale, "same", name=f"{name}upsample")(x)


def _carn(x: Tensor, width: int, scale: int, name: str, groups: int = 4) -> Tensor:
    x = _conv(_centred(x, name), width, 3, f"{name}entry")
    x = _cascade(x, width, f"{name}cascade", lambda x, i: _cascading_block(x, width, groups, f"{name}block{i}"))
    x = _shuffled(x, width, scale, name, groups, "relu")
    return _uncentred(_conv(x, 3, 3, f"{name}exit"), name)


def _cascading_block(x: Tensor, width: int, groups: int, name: str) -> Tensor:
    # One residual block, its weights shared by its three uses.
    convolutions = [Conv2D(width, 3, padding="same", groups=groups, name=f"{name}_conv{i}", **_HE) for i in range(2)]
    last = Conv2D(width, 1, name=f"{name}_conv2", **_HE)
    relu = layers.ReLU(name=f"{name}_relu")

    def residual(x: Tensor, _: int) -> Tensor:
        y = x
        for convolution in convolutions:
            y = relu(convolution(y))
        return relu(layers.Add()([last(y), x]))

    return _cascade(x, width, name, residual)


def _cascade(x: Tensor, width: int, name: str, block: collections.abc.Callable[[Tensor, int], Tensor]) -> Tensor:
    """Three blocks, each of which reads a 1x1 fusion of all maps before it."""
    maps = x
    for i in range(3):
        maps = layers.Concatenate()([maps, block(x, i)])
        x = Conv2D(width, 1, use_bias=False, name=f"{name}_fusion{i}", **_HE)(maps)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_fusion{i}_bn")(x)
        x = layers.ReLU(name=f"{name}_fusion{i}_relu")(x)
    return x


def _srresnet(images: Tensor, width: int, scale: int, name: str, blocks: int = 16) -> Tensor:
    x = layers.LeakyReLU(0.1, name=f"{name}entry_relu")(_conv(images, width, 3, f"{name}entry"))
    for i in range(blocks):
        y = layers.ReLU(name=f"{name}block{i}_relu")(_conv(x, width, 3, f"{name}block{i}_conv0"))
        x = layers.Add(name=f"{name}block{i}")([x, _conv(y, width, 3, f"{name}block{i}_conv1")])
    x = _shuffled(x, width, scale, name, 1, "leaky_relu")
    x = layers.LeakyReLU(0.1, name=f"{name}hr_relu")(_conv(x, width, 3, f"{name}hr"))
    bilinear = UpSampling2D(scale, interpolation="bilinear", name=f"{name}bilinear")(images)
    return layers.Add(name=f"{name}sum")([_conv(x, 3, 3, f"{name}exit"), bilinear])


def _rcan(x: Tensor, width: int, scale: int, name: str, groups: int = 10, blocks: int = 20) -> Tensor:
    x = start = _conv(_centred(x, name), width, 3, f"{name}entry")
    for g in range(groups):
        y = x
        for b in range(blocks):
            y = _attentive_block(y, width, f"{name}group{g}_block{b}")
        x = layers.Add(name=f"{name}group{g}")([x, _conv(y, width, 3, f"{name}group{g}_conv")])
    x = layers.Add(name=f"{name}body")([start, _conv(x, width, 3, f"{name}body_conv")])
    x = _shuffled(x, width, scale, name, 1, None)
    return _uncentred(_conv(x, 3, 3, f"{name}exit"), name)


def _attentive_block(x: Tensor, width: int, name: str, reduction: int = 16) -> Tensor:
    y = layers.ReLU(name=f"{name}_relu")(_conv(x, width, 3, f"{name}_conv0"))
    y = _conv(y, width, 3, f"{name}_conv1")
    attention = GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(y)
    attention = layers.ReLU(name=f"{name}_squeeze_relu")(_conv(attention, width // reduction, 1, f"{name}_squeeze"))
    attention = layers.Activation("sigmoid", name=f"{name}_attention")(_conv(attention, width, 1, f"{name}_excite"))
    return layers.Add(name=name)([x, layers.Multiply(name=f"{name}_attended")([y, attention])])


def _shuffled(x: Tensor, width: int, scale: int, name: str, groups: int, activation: str | None) -> Tensor:
    """The map enlarged by pixel shuffles; a scale of 4 takes two of 2."""
    for i, step in enumerate((2, 2) if scale == 4 else (scale,)):
        x = _conv(x, width * step**2, 3, f"{name}up{i}", groups)
        if activation == "relu":  # CARN has it before the shuffle
            x = layers.ReLU(name=f"{name}up{i}_relu")(x)
        x = PixelShuffle(step, name=f"{name}up{i}_shuffle")(x)
        if activation == "leaky_relu":
            x = layers.LeakyReLU(0.1, name=f"{name}up{i}_relu")(x)
    return x


_HE = {"kernel_initializer": "he_normal"}


def _conv(x: Tensor, filters: int, size: int, name: str, groups: int = 1) -> Tensor:
    return Conv2D(filters, size, padding="same", groups=groups, name=name, **_HE)(x)


def _centred(x: Tensor, name: str) -> Tensor:
    return layers.Rescaling(1.0, offset=[-m for m in _DIV2K_MEAN], name=f"{name}centre")(x)


def _uncentred(x: Tensor, name: str) -> Tensor:
    return layers.Rescaling(1.0, offset=list(_DIV2K_MEAN), name=f"{name}uncentre")(x)
