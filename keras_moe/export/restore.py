"""Weights that are changed for one export and come back after it."""

import contextlib


@contextlib.contextmanager
def weights_kept(layers):
    """Inside, the weights of ``layers``, an iterable, may be set; then they are as they were, whatever happens."""
    before = [(layer, layer.get_weights()) for layer in layers]
    try:
        yield
    finally:
        for layer, weights in before:
            layer.set_weights(weights)
