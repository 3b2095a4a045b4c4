"""Weights that are changed for one export and come back after it."""

import collections.abc
import contextlib

import keras

from keras_moe.layer_state import set_weights


@contextlib.contextmanager
def weights_kept(layers: collections.abc.Iterable[keras.Layer]) -> collections.abc.Iterator[None]:
    """Inside, the weights of ``layers`` may be set; then they are as they were, whatever happens."""
    before = [(layer, layer.get_weights()) for layer in layers]
    try:
        yield
    finally:
        for layer, weights in before:
            set_weights(layer, weights)


def kernel_alone(layer: keras.Layer) -> bool:
    """Whether a convolution or ``Dense`` has a float kernel, at most a bias, and nothing else: no LoRA, no int8."""
    return layer.quantization_mode is None and len(layer.weights) == 1 + bool(layer.use_bias)
