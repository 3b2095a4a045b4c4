"""Keras' serialization without an import of TensorFlow, on JAX and PyTorch.

Wherever TensorFlow is installed Keras imports it to ask whether a value that it serializes is one of TensorFlow's
shapes or types. That takes seconds, in each process that makes a model of this package, since a model describes its
layers when it is made. A value can only be of a module that has been imported.
"""

import importlib
import sys
import typing

from keras.src.saving import serialization_lib


class _OnceImported:
    """TensorFlow as Keras' serialization sees it: available as soon as anybody has imported it."""

    @property
    def available(self) -> bool:
        return "tensorflow" in sys.modules

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(importlib.import_module("tensorflow"), name)


def spare_tensorflow() -> None:
    """Has Keras' serialization ask for TensorFlow's types only once TensorFlow is there."""
    if hasattr(serialization_lib, "tf"):  # a private name of Keras, which a later version may not have
        serialization_lib.tf = _OnceImported()
