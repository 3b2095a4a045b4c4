"""The encoder of Patcher: its blocks and its sizes."""

import dataclasses
import typing

import keras
from keras import layers

from keras_moe.channels_last import Conv2D
from keras_moe.layers import DepthwiseConv2D, EfficientAttention, PatchWise
from keras_moe.layers.attention import fan_out, linear
from keras_moe.types import Shape, Tensor


@dataclasses.dataclass(frozen=True)
class PatcherSize:
    """The numbers of an encoder: tuples of equal length with one int per scale, the finest first.

    Args:
        filters: channels.
        depths: number of transformer layers.
        heads: number of attention heads.
        reductions: ratio of the side of the queries' map to that of keys and values.
        patches: side of a large patch in pixels of the block's input.
        contexts: pixels around a large patch.
        strides: side of a small patch, which is the stride of the block.
        mlp_ratio: int, width of the MLPs' hidden layer as a multiple of the channels.
        decoder_filters: int, channels of the decoder.
    """

    filters: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    reductions: tuple[int, ...]
    patches: tuple[int, ...]
    contexts: tuple[int, ...]
    strides: tuple[int, ...]
    mlp_ratio: int
    decoder_filters: int

    def __post_init__(self) -> None:
        lengths = {field: len(value) for field, value in vars(self).items() if not isinstance(value, int)}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise ValueError(f"Patcher: a size needs one number per scale in each tuple. Received: lengths {lengths}")

    @property
    def multiples(self) -> list[int]:
        """The ints that height and width of an image must be multiples of: each block's patch in image pixels."""
        reached, factors = 1, []
        for patch, stride in zip(self.patches, self.strides, strict=True):
            factors.append(reached * patch)
            reached *= stride
        return factors


# "paper" is the paper's (about 81.5 million parameters); "small" has the widths of SegFormer-B0 instead. "tiny" is for
# a phone or two CPU cores: its first small patches of 4x4 pixels reduce the map to a quarter of the image's resolution,
# and its reductions are larger for larger maps, as in SegFormer.
SIZES = {
    "paper": PatcherSize(
        (64, 128, 320, 512), (3, 6, 40, 3), (1, 2, 5, 8), (2, 2, 2, 1), (32,) * 4, (8,) * 4, (2,) * 4, 4, 256
    ),
    "small": PatcherSize(
        (32, 64, 160, 256), (2, 2, 2, 2), (1, 2, 5, 8), (4, 4, 2, 1), (32,) * 4, (8,) * 4, (2,) * 4, 4, 64
    ),
    "tiny": PatcherSize(
        (24, 48, 96, 128), (1, 1, 2, 1), (1, 2, 4, 4), (5, 4, 2, 1), (32, 32, 32, 16), (4, 4, 4, 4), (4, 2, 2, 2), 2, 32
    ),
}


def resolve(size: str | dict[str, typing.Any]) -> PatcherSize:
    """The ``PatcherSize`` of a name, or of a dict of fields; fields that it lacks are those of "tiny".

    Raises:
        ValueError: an unknown name or field, or tuples of different lengths.
    """
    if isinstance(size, str) and size in SIZES:
        return SIZES[size]
    fields = {field.name for field in dataclasses.fields(PatcherSize)}
    if not isinstance(size, dict) or not size.keys() <= fields:
        raise ValueError(
            f"Patcher: `size` must be one of {sorted(SIZES)} or a dict with keys among {sorted(fields)}. "
            f"Received: size={size!r}"
        )
    settings: dict[str, typing.Any] = {k: v if isinstance(v, int) else tuple(v) for k, v in size.items()}
    return dataclasses.replace(SIZES["tiny"], **settings)


def encoder(input_shape: Shape, size: PatcherSize, drop_path_rate: float) -> keras.Model:
    """The cascade of Patcher blocks: a model from images ``(n, h, w, c)`` to a list of feature maps, finest first."""
    inputs = keras.Input(input_shape)
    x, maps, before, layers_in_all = inputs, [], 0, sum(size.depths)
    for i in range(len(size.filters)):
        rates = [drop_path_rate * j / max(1, layers_in_all - 1) for j in range(before, before + size.depths[i])]
        x = _block(x.shape[-1], size, i, rates)(x)
        maps.append(x)
        before += size.depths[i]
    return keras.Model(inputs, maps, name="encoder")


def _block(channels: int, size: PatcherSize, i: int, rates: list[float]) -> PatchWise:
    """Patcher block i (the paper's section 3.1): a ``PatchWise`` of embedding, transformer layers, normalisation."""
    name, filters, stride = f"block_{i}", size.filters[i], size.strides[i]
    side = size.patches[i] + 2 * size.contexts[i]
    x = inputs = keras.Input((side, side, channels))
    x = Conv2D(filters, stride, stride, kernel_initializer=fan_out(), name=f"{name}_embedding")(x)
    x = layers.LayerNormalization(epsilon=1e-5, name=f"{name}_embedding_norm")(x)
    for j, rate in enumerate(rates):
        x = _transformer_layer(x, size.heads[i], size.reductions[i], size.mlp_ratio, rate, f"{name}_layer_{j}")
    x = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm")(x)
    return PatchWise(keras.Model(inputs, x, name=f"{name}_network"), size.patches[i], size.contexts[i], name=name)


def _transformer_layer(x: Tensor, heads: int, reduction: int, ratio: int, rate: float, name: str) -> Tensor:
    """Pre-normalised efficient attention and an MLP with a depth-wise convolution, each with stochastic depth."""
    channels = x.shape[-1]
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_1")(x)
    y = EfficientAttention(heads, reduction, name=f"{name}_attention")(y)
    x = layers.Add(name=f"{name}_add_1")([x, _drop_path(rate, f"{name}_drop_1")(y)])
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_2")(x)
    y = layers.Dense(channels * ratio, kernel_initializer=linear(), name=f"{name}_expand")(y)
    y = DepthwiseConv2D(3, padding="same", depthwise_initializer=fan_out(), name=f"{name}_depthwise")(y)
    y = layers.Activation("gelu", name=f"{name}_gelu")(y)
    y = layers.Dense(channels, kernel_initializer=linear(), name=f"{name}_project")(y)
    return layers.Add(name=f"{name}_add_2")([x, _drop_path(rate, f"{name}_drop_2")(y)])


def _drop_path(rate: float, name: str) -> keras.Layer:
    # One decision per large patch: a dropout whose noise has the batch axis alone.
    return layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=name)
