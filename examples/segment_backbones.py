"""Domain experts for segmentation on a backbone of ``keras.applications`` or, with the extra ``cv``, of KerasHub.

    python examples/segment_backbones.py [--hub]

A decoder of a few layers turns two maps of the backbone, one fine and one coarse, into classes per pixel; any
functional network of that kind can be an expert of a ``SegmentationMoE``. Random weights, so that nothing is
downloaded; ``weights="imagenet"`` and ``keras_hub.models.Backbone.from_preset`` give trained ones. Train the experts,
then the gate, with ``keras_moe.training.train_domain_experts`` and ``train_segmentation``.
"""

import argparse

import keras
import numpy as np
from keras import layers

from keras_moe.models import SegmentationMoE


def with_decoder(images, low, deep, classes):
    """The network from ``images`` to logits per pixel, by way of two of its maps."""
    x = layers.UpSampling2D(low.shape[1] // deep.shape[1], interpolation="bilinear")(deep)
    x = layers.Concatenate()([x, layers.Conv2D(16, 1, activation="relu")(low)])
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(classes, 1, name="predictions")(x)
    return keras.Model(images, layers.UpSampling2D(images.shape[1] // low.shape[1], interpolation="bilinear")(x))


def of_applications(size, classes):
    body = keras.applications.MobileNetV2((*size, 3), alpha=0.35, include_top=False, weights=None)
    low, deep = (body.get_layer(name).output for name in ("block_1_expand_relu", "block_13_expand_relu"))
    return with_decoder(body.input, low, deep, classes)


def of_keras_hub(size, classes):
    import keras_hub

    body = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[3], stackwise_num_filters=[64, 128],
        stackwise_num_blocks=[1, 1], stackwise_num_strides=[1, 2], block_type="basic_block", image_shape=(*size, 3),
    )  # fmt: skip
    maps = body.pyramid_outputs
    return with_decoder(body.input, maps[min(maps)], maps[max(maps)], classes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hub", action="store_true")
    network = (of_keras_hub if parser.parse_args().hub else of_applications)((64, 96), 5)
    x = np.random.default_rng(0).uniform(-1, 1, (2, *network.input_shape[1:])).astype("float32")
    expected = network.predict(x, verbose=0)
    for options in ({"gate_kind": "class", "conv": True}, {"gate_kind": "image", "sparse": True}):
        model = SegmentationMoE.from_network(
            network, classifier_activation=None, include_preprocessing=False, **options
        )
        apart = np.abs(model.predict(x, verbose=0) - expected).max()
        print(f"{options}: predictions apart by {apart:.1e}, MACs {model.macs_by_part()}")
        assert apart < 1e-4


if __name__ == "__main__":
    main()
