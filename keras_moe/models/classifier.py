"""The dense network of a backbone family: baseline, teacher, and material for mixtures."""

import keras

from keras_moe.models import backbones
from keras_moe.models.arguments import remembered
from keras_moe.models.base import MoEModel
from keras_moe.models.partitioned import dtype_scope
from keras_moe.types import DType, Path, Shape


@keras.saving.register_keras_serializable(package="keras_moe")
class Classifier(MoEModel):
    """A whole backbone and a head: every image runs all of it.

    Args, call arguments and errors are those of ``HydraNet`` where the names agree.

    Returns:
        float32 ``(n, classes)`` with the head.
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
        name: str = "classifier",
        dtype: DType = None,
    ) -> None:
        spec = backbones.get(backbone, alpha)

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


def _trunk(spec, input_shape):
    x = inputs = keras.Input(input_shape)
    x = backbones.first(x, spec, "stem")
    for i, stage in enumerate(spec.stages):
        x = backbones.stage(x, spec, stage, f"stage{i}")
    return keras.Model(inputs, backbones.last(x, spec, ""), name="backbone")
