"""The weighted sum of feature maps, pixel by pixel."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_moe")
class Mixture(keras.layers.Layer):
    """``sum over k of weights[..., k] * features_k`` at every pixel, where all experts have been computed already.

    Patcher's experts are the scales of one encoder (MICCAI 2022): all of them are needed for every image. Nothing is
    saved, and ``ExpertBank``, which skips experts, would be the wrong tool.

    Call arguments:
        features: float tensor ``(n, h, w, experts * d)``, the experts' maps concatenated, with known sizes.
        weights: float tensor ``(n, h, w, experts)``.

    Returns:
        Float tensor ``(n, h, w, d)``.

    Raises:
        ValueError: maps of different sizes, or channels that do not divide by the number of experts.
    """

    def build(self, features_shape, weights_shape):
        same = tuple(features_shape[1:3]) == tuple(weights_shape[1:3])
        if None in features_shape[1:] or not same or features_shape[-1] % weights_shape[-1]:
            raise ValueError(
                "Mixture: expected features (n, h, w, experts * d) and weights (n, h, w, experts) of known sizes. "
                f"Received: {tuple(features_shape)} and {tuple(weights_shape)}"
            )

    def call(self, features, weights):
        _, height, width, experts = weights.shape
        depth = features.shape[-1] // experts
        split = ops.reshape(features, (-1, height * width, experts, depth))
        mixed = ops.sum(split * ops.reshape(weights, (-1, height * width, experts, 1)), axis=2)
        return ops.reshape(mixed, (-1, height, width, depth))

    def compute_output_shape(self, features_shape, weights_shape):
        return (*features_shape[:-1], features_shape[-1] // weights_shape[-1])
