"""The dense network of a backbone family: a baseline, a teacher, and the source of mixtures."""

import keras

from keras_moe.models import backbones
from keras_moe.models.arguments import remembered
from keras_moe.models.base import MoEModel
from keras_moe.models.partitioned import dtype_scope
from keras_moe.types import DType, Path, Shape


@keras.saving.register_keras_serializable(package="keras_moe")
class Classifier(MoEModel):
    """A backbone and a head, without experts: every image runs the whole network.

    Arguments, call arguments and errors are those of ``HydraNet`` with the same names.

    Args:
        blocks: sequence of int, the most blocks in each stage of the backbone; None: all. Omitted blocks come after a
            stage's first one and have a skip connection, so that a thinned copy of a trained network computes nearly
            the same.

    Returns:
        float32 ``(n, classes)`` with the head.

    Example:
        >>> model = keras_moe.models.Classifier((8, 8, 3), backbone="resnet8", classes=5)
        >>> keras_moe.weights.save_weights(model, "dense.safetensors")
        >>> again = keras_moe.models.Classifier((8, 8, 3), backbone="resnet8", classes=5, weights="dense.safetensors")
        >>> images = np.zeros((2, 8, 8, 3))
        >>> np.array_equal(again.predict(images, verbose=0), model.predict(images, verbose=0))
        True
    """

    @remembered
    def __init__(
        self,
        input_shape: Shape = (32, 32, 3),
        alpha: float = 1.0,
        backbone: str = "resnet20",
        include_top: bool = True,
        weights: Path | None = None,
        classes: int = 100,
        pooling: str | None = None,
        dropout_rate: float = 0.0,
        classifier_activation: str | None = "softmax",
        include_preprocessing: bool = True,
        blocks: Shape | None = None,
        name: str = "classifier",
        dtype: DType = None,
    ) -> None:
        spec = backbones.thinned(backbones.get(backbone, alpha), blocks)

        with dtype_scope(dtype):
            # === Layers ===
            images = keras.Input(input_shape, name="images")
            scaling = backbones.scaling(include_preprocessing, spec)
            trunk = _trunk(spec, input_shape)
            pooling = "avg" if include_top else pooling
            head = backbones.head(include_top, classes, pooling, dropout_rate, classifier_activation, "head")

            # === Functional model ===
            outputs = head(trunk(scaling(images)))

        super().__init__(
            images, outputs, parts={"backbone": ["scaling", "backbone"], "head": ["head"]}, name=name, dtype=dtype
        )


def _trunk(spec: backbones.Backbone, input_shape: Shape) -> keras.Model:
    x = inputs = keras.Input(input_shape)
    x = backbones.first(x, spec, "stem")
    for i, stage in enumerate(spec.stages):
        x = backbones.stage(x, spec, stage, f"stage{i}")
    return keras.Model(inputs, backbones.last(x, spec, ""), name="backbone")
