"""The U-Net (Ronneberger, Fischer, Brox; MICCAI 2015): the dense baseline of segmentation."""

import collections.abc
import functools

import keras
from keras import layers

from keras_moe.channels_last import Conv2D, MaxPooling2D, UpSampling2D
from keras_moe.checks import check
from keras_moe.models import backbones
from keras_moe.models.arguments import remembered
from keras_moe.models.base import MoEModel
from keras_moe.models.partitioned import dtype_scope
from keras_moe.types import DType, Path, Shape, Tensor

_check = functools.partial(check, "UNet")


@keras.saving.register_keras_serializable(package="keras_moe")
class UNet(MoEModel):
    """An encoder and a decoder of two 3x3 convolutions per level, joined by skip connections.

    It differs from the paper in three customary points: padded convolutions, BatchNorm, and a bilinear resize instead
    of a transposed convolution before each level of the decoder.

    With a ``backbone``, that network without its last convolution is the encoder, and the decoder ends at its finest
    map; the logits are resized to the image.

    Args:
        filters: tuple of ints, channels of each level, from the image's resolution down. With a ``backbone``, those of
            the decoder's levels, from the finest map down, one fewer than the backbone has scales.
        backbone, alpha: as for ``Patcher``.
        input_shape, include_top, weights, classes, …: as for ``Patcher``; height and width must be multiples of
            ``2 ** (len(filters) - 1)``, or of the backbone's largest stride.

    Call arguments:
        images: float tensor ``(n, height, width, channels)``.

    Returns:
        float32 ``(n, height, width, classes)``.

    Raises:
        ValueError: an argument out of range, or sizes that are no such multiples.

    Example:
        >>> model = keras_moe.models.UNet((8, 8, 3), filters=(4, 8), classes=2)
        >>> model.predict(np.zeros((1, 8, 8, 3)), verbose=0).shape
        (1, 8, 8, 2)
    """

    @remembered
    def __init__(
        self,
        input_shape: Shape = (256, 256, 3),
        filters: collections.abc.Sequence[int] = (8, 16, 32, 64, 128),
        backbone: str | None = None,
        alpha: float = 1.0,
        include_top: bool = True,
        weights: Path | None = None,
        classes: int = 2,
        dropout_rate: float = 0.1,
        classifier_activation: str | None = "softmax",
        include_preprocessing: bool = True,
        name: str = "unet",
        dtype: DType = None,
    ) -> None:
        _check("filters", filters, len(filters) >= 2 and min(filters) >= 1, "at least two ints >= 1")
        _check("include_top", include_top, include_top, "True: the decoder ends in its head")
        spec = None if backbone is None else backbones.get(backbone, alpha)
        multiple = 2 ** (len(filters) - 1) if spec is None else backbones.strides(spec, 32)[-1]
        divides = all(side and side % multiple == 0 for side in input_shape[:2])
        _check("input_shape", input_shape, divides, f"of known sides, multiples of {multiple}")

        with dtype_scope(dtype):
            # === Layers ===
            images = keras.Input(input_shape, name="images")
            scaling = backbones.scaling(include_preprocessing, spec)
            encoder = _encoder(input_shape, filters) if spec is None else backbones.encoder(input_shape, spec)
            levels = len(encoder.outputs) - 1
            fits = spec is None or len(filters) == levels
            _check("filters", filters, fits, f"{levels} ints for {backbone!r}: one fewer than its scales")
            decoder = _decoder([t.shape[1:] for t in encoder.outputs], filters)
            dropout = layers.Dropout(dropout_rate, name="dropout")
            predictions = layers.Dense(classes, name="predictions")
            probabilities = layers.Activation(classifier_activation, dtype="float32", name="probabilities")

            # === Functional model ===
            logits = predictions(dropout(decoder(encoder(scaling(images)))))
            factor = input_shape[0] // logits.shape[1]
            if factor > 1:
                logits = UpSampling2D(factor, interpolation="bilinear", name="resize")(logits)
            outputs = probabilities(logits)

        super().__init__(
            images,
            outputs,
            parts={
                "encoder": ["scaling", "encoder"],
                "decoder": ["decoder"],
                "head": ["dropout", "predictions", *(["resize"] if factor > 1 else []), "probabilities"],
            },
            name=name,
            dtype=dtype,
        )


def _encoder(input_shape: Shape, filters: collections.abc.Sequence[int]) -> keras.Model:
    x = inputs = keras.Input(input_shape)
    maps = []
    for level, width in enumerate(filters):
        x = MaxPooling2D(name=f"down_{level}")(x) if level else x
        x = _double_conv(x, width, f"encode_{level}")
        maps.append(x)
    return keras.Model(inputs, maps, name="encoder")


def _decoder(shapes: list[Shape], filters: collections.abc.Sequence[int]) -> keras.Model:
    inputs = [keras.Input(shape) for shape in shapes]
    x = inputs[-1]
    for level in reversed(range(len(shapes) - 1)):
        x = UpSampling2D(2, interpolation="bilinear", name=f"up_{level}")(x)
        x = layers.Concatenate(name=f"skip_{level}")([inputs[level], x])
        x = _double_conv(x, filters[level], f"decode_{level}")
    return keras.Model(inputs, x, name="decoder")


def _double_conv(x: Tensor, filters: int, name: str) -> Tensor:
    for i in range(2):
        x = Conv2D(
            filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv_{i}"
        )(x)  # fmt: skip
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn_{i}")(x)
        x = layers.ReLU(name=f"{name}_relu_{i}")(x)
    return x
