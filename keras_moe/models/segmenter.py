"""The dense segmentation network: a baseline on all domains, or the expert of one."""

import keras
from keras import layers

from keras_moe.checks import check
from keras_moe.models import segmenters
from keras_moe.models.arguments import remembered
from keras_moe.models.base import MoEModel
from keras_moe.models.partitioned import dtype_scope
from keras_moe.types import DType, Path, Shape


@keras.saving.register_keras_serializable(package="keras_moe")
class Segmenter(MoEModel):
    """A segmentation network without experts: every image runs the whole network.

    Args:
        input_shape: ``(height, width, channels)``, sizes that are multiples of 8 (``"resnet…"``) or 16 (all others).
            All layers are convolutional, so that weights fit any size.
        alpha: float, width multiplier.
        backbone: ``"resnet<6n+2>"``, ``"litenet"`` or ``"efficientnet_lite<0…4>"``, the encoder of a light DeepLabv3+;
            or ``"frrn_a"``. See ``keras_moe.models.segmenters``.
        include_top: True. There is no form without the head.
        weights: None, ``"imagenet"`` or a path, as for ``HydraNet``.
        classes: int.
        classifier_activation: ``"softmax"``, or None for logits, the form for training.
        include_preprocessing: bool, whether images are in [0, 255] (True) or in [-1, 1].
        name: str.
        dtype: dtype policy of the layers, or None.

    Call arguments:
        images: float tensor ``(n, height, width, channels)``.

    Returns:
        float32 ``(n, height, width, classes)``.

    Raises:
        ValueError: an argument out of range, or sizes that are no such multiples.

    Example:
        >>> model = keras_moe.models.Segmenter((16, 16, 3), alpha=0.5, backbone="resnet8", classes=5)
        >>> predictions = model.predict(np.zeros((1, 16, 16, 3)), verbose=0)
        >>> predictions.shape, np.allclose(predictions.sum(axis=-1), 1, atol=1e-5)
        ((1, 16, 16, 5), True)
    """

    @remembered
    def __init__(
        self,
        input_shape: Shape = (120, 160, 3),
        alpha: float = 1.0,
        backbone: str = "resnet14",
        include_top: bool = True,
        weights: Path | None = None,
        classes: int = 11,
        classifier_activation: str | None = "softmax",
        include_preprocessing: bool = True,
        name: str = "segmenter",
        dtype: DType = None,
    ) -> None:
        check("Segmenter", "include_top", include_top, include_top, "True: a segmenter has no form without its head")

        with dtype_scope(dtype):
            # === Layers ===
            network = segmenters.build(backbone, input_shape, alpha, classes, include_preprocessing, "network")
            activation = layers.Activation(classifier_activation, dtype="float32", name="probabilities")

            # === Functional model ===
            images = keras.Input(input_shape, name="images")
            _, logits = network(images)
            outputs = activation(logits)

        super().__init__(
            images, outputs, parts={"network": ["network"], "head": ["probabilities"]}, name=name, dtype=dtype
        )
