"""Keras' layers of maps, always ``channels_last``: in this package maps are ``(n, height, width, channels)``.

Elsewhere in Keras ``keras.config.image_data_format()`` decides, which a user may have set to ``"channels_first"``. What
a layer reads is passed to it instead of changing that setting for a while: it is the setting of all threads.
"""

import collections.abc
import functools
import typing

import keras
from keras import layers

LAST = "channels_last"
_LAST = {"data_format": LAST}

AveragePooling2D = functools.partial(layers.AveragePooling2D, **_LAST)
Conv2D = functools.partial(layers.Conv2D, **_LAST)
Conv2DTranspose = functools.partial(layers.Conv2DTranspose, **_LAST)
Flatten = functools.partial(layers.Flatten, **_LAST)
GlobalAveragePooling2D = functools.partial(layers.GlobalAveragePooling2D, **_LAST)
GlobalMaxPooling2D = functools.partial(layers.GlobalMaxPooling2D, **_LAST)
MaxPooling2D = functools.partial(layers.MaxPooling2D, **_LAST)
UpSampling2D = functools.partial(layers.UpSampling2D, **_LAST)

# Axes of features, the batch aside -> their mean over all positions: of patches or words, of a map, of a volume.
GLOBAL_AVERAGE_POOLING = {
    2: functools.partial(layers.GlobalAveragePooling1D, **_LAST),
    3: GlobalAveragePooling2D,
    4: functools.partial(layers.GlobalAveragePooling3D, **_LAST),
}


def check_network(name: str, calls: collections.abc.Iterable[typing.Any]) -> None:
    """``check_layer`` on all that a network does with maps.

    Args:
        name: of the network.
        calls: its ``keras_moe.graph.Call``s, what it computes.
    """
    for call in calls:
        if any(len(tensor.shape) > 2 for tensor in call.inputs):
            check_layer(f"{call.name!r} of {name!r}", call.layer)


def check_layer(name: str, layer: keras.Operation) -> None:
    """Raises ValueError where ``layer``, or one inside it, takes maps ``(n, channels, height, width)``."""
    if "channels_first" in data_formats(layer):
        raise ValueError(
            f"Expected layers of maps (n, height, width, channels). Received: {name}, which is channels_first; make it "
            "anew after `keras.config.set_image_data_format('channels_last')`."
        )


def check_same_formats(layer: keras.Operation, copy: keras.Operation) -> None:
    """Raises ValueError where ``copy`` was made under another ``image_data_format`` that changed what is inside it."""
    if data_formats(layer) != data_formats(copy):
        raise ValueError(
            f"{layer.name!r} of {type(layer).__name__} does not keep the `data_format` of the layers inside it, which "
            f"are now {keras.config.image_data_format()}; call `keras.config.set_image_data_format('channels_last')` "
            "before it is copied."
        )


def data_formats(layer: keras.Operation) -> list[str]:
    """The ``data_format`` of ``layer`` and of each layer inside it, of those that have one: list of str."""
    inside = layer._flatten_layers() if isinstance(layer, layers.Layer) else [layer]
    return [part.data_format for part in inside if hasattr(part, "data_format")]
