"""Classifiers of KerasHub and of KerasCV turned into mixtures; needs the extra ``cv``.

    pip install -e ".[cv]"
    python examples/upcycle_keras_hub.py

KerasCV is no longer developed; its models moved to KerasHub. What still builds under Keras 3 can be upcycled the same
way. Random weights, so that nothing is downloaded; ``keras_hub.models.ImageClassifier.from_preset`` gives trained ones.
"""

import keras
import numpy as np

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


def main():
    for make in (keras_hub_classifier, keras_cv_classifier):
        classifier = make()
        model = upcycle(classifier, num_experts=4)
        x = np.random.default_rng(0).random((4, *model.input_shape[1:])).astype("float32")
        apart = np.abs(model.predict(x, verbose=0) - keras.ops.convert_to_numpy(classifier(x, training=False))).max()
        split = model.get_config()["split_at"]
        print(f"{make.__name__}: cut after {split!r}, answers apart by {apart:.1e}, MACs {model.macs_by_part()}")
        assert apart < 1e-5


if __name__ == "__main__":
    main()
