"""Classifiers of KerasHub and of KerasCV turned into mixtures and into LiteRT files; needs ``cv`` and ``litert``.

    pip install -e ".[cv,litert]"
    python examples/upcycle_keras_hub.py

KerasCV is no longer developed; its models moved to KerasHub. What still builds under Keras 3 can be upcycled the same
way. Random weights, so that nothing is downloaded; ``keras_hub.models.ImageClassifier.from_preset`` gives trained ones.
"""

import pathlib
import tempfile

import keras
import numpy as np

from keras_moe.export import LiteRTModel, litert
from keras_moe.models import upcycle


def keras_hub_classifier():
    import keras_hub

    body = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[3], stackwise_num_filters=[64, 128],
        stackwise_num_blocks=[1, 1], stackwise_num_strides=[1, 2], block_type="basic_block", image_shape=(32, 32, 3),
    )  # fmt: skip
    return keras_hub.models.ImageClassifier(backbone=body, num_classes=5)


def keras_cv_classifier():
    import keras_cv

    body = keras_cv.models.ResNetBackbone(
        stackwise_filters=[16, 32], stackwise_blocks=[1, 1], stackwise_strides=[1, 2], input_shape=(64, 64, 3),
        include_rescaling=True,
    )  # fmt: skip
    return keras_cv.models.ImageClassifier(backbone=body, num_classes=5)


def upcycle_and_export(classifier, path):
    """Four experts grown from a classifier, and a file in which two of them run for an image."""
    model = upcycle(classifier, num_experts=4, top_k=2)
    images = np.random.default_rng(0).random((4, *model.input_shape[1:])).astype("float32")
    prediction = model.predict(images, verbose=0)
    grown = np.abs(prediction - keras.ops.convert_to_numpy(classifier(images, training=False))).max()
    litert(model, path)
    exported = np.abs(LiteRTModel(path).predict(images) - prediction).max()
    return model, grown, exported


def main():
    for make in (keras_hub_classifier, keras_cv_classifier):
        with tempfile.TemporaryDirectory() as folder:
            model, grown, exported = upcycle_and_export(make(), pathlib.Path(folder, "model.tflite"))
        split_at = model.get_config()["split_at"]
        print(f"{make.__name__}: cut after {split_at!r}, MACs {model.macs_by_part()}")
        print(f"  predictions apart by {grown:.1e} from the classifier's, by {exported:.1e} in the LiteRT file")


if __name__ == "__main__":
    main()
