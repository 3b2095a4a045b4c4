"""Whether layers are still what they were when something was made of them.

A trace or a compiled function holds for layers as they were. Assigning weights does not touch it. LoRA, quantization,
another dtype policy or activation, a layer in place of another do: then layers refer to other objects than before, and
that is what is compared here, by identity, in microseconds a layer.
"""

import collections.abc
import functools
import operator
import typing

import keras


class MadeOf:
    """``make(*layers)``, made anew whenever the layers have changed."""

    def __init__(self, make: collections.abc.Callable) -> None:
        self.make = make
        self.parts: list | None = None

    def __call__(self, *layers: keras.Layer) -> typing.Any:
        parts = parts_of(layers)
        if self.parts is None or len(parts) != len(self.parts) or not all(map(operator.is_, parts, self.parts)):
            self.parts, self.made = parts, self.make(*layers)
        return self.made


def parts_of(layers: collections.abc.Iterable[keras.Layer]) -> list:
    """All layers inside ``layers`` and what each refers to, as one list; it is the same while they compute the same."""
    parts = []
    for layer in layers:
        for inner in layer._flatten_layers():
            parts.append(inner)
            parts += telling(inner).values()
    return parts


def telling(layer: keras.Layer) -> dict:
    """Dict, name -> value of those of a layer's attributes that can tell something of what it computes."""
    common = _common()
    return {name: value for name, value in vars(layer).items() if name not in common}


@functools.cache
def _common():
    # What every layer or model has is Keras' bookkeeping, but for these.
    return frozenset(vars(keras.Model(name="any"))) - {"_dtype_policy", "_trainable"}
