"""Detection of changes to layers since a function was built from them.

A trace or a compiled function describes its layers at one moment. It follows new weights; it does not follow LoRA,
quantization, another dtype policy, another activation or a replaced layer. After such a change a layer refers to other
objects than before. References are compared by identity, which takes microseconds per layer.
"""

import collections.abc
import functools
import operator
import typing

import keras


class MadeOf:
    """Caches ``make(*layers)`` and calls ``make`` again after a change of the layers."""

    def __init__(self, make: collections.abc.Callable[..., typing.Any]) -> None:
        self.make = make
        self.parts: list[typing.Any] | None = None

    def __call__(self, *layers: keras.Layer) -> typing.Any:
        parts = parts_of(layers)
        if self.parts is None or len(parts) != len(self.parts) or not all(map(operator.is_, parts, self.parts)):
            self.made = self.make(*layers)
            self.parts = parts  # last: other threads take it for the sign that `made` is of these
        return self.made


def parts_of(layers: collections.abc.Iterable[keras.Layer]) -> list[typing.Any]:
    """All layers inside ``layers`` and the objects each refers to, as one list. Its items change with the layers."""
    parts: list[typing.Any] = []
    for layer in layers:
        for inner in layer._flatten_layers():
            parts.append(inner)
            parts += telling(inner).values()
    return parts


def telling(layer: keras.Layer) -> dict[str, typing.Any]:
    """The attributes that may determine the layer's computation: dict, name -> value."""
    common = _common()
    return {name: value for name, value in vars(layer).items() if name not in common}


@functools.cache
def _common() -> frozenset[str]:
    # Attributes of every layer or model are Keras' bookkeeping, except for these two.
    return frozenset(vars(keras.Model(name="any"))) - {"_dtype_policy", "_trainable"}
