"""Vision mixtures of experts for Keras 3: gates, expert banks and ensemblers, staged training, a zoo."""

import importlib

from keras_moe import layers as layers
from keras_moe import models as models
from keras_moe import training as training
from keras_moe import zoo as zoo

__version__ = "0.1.0"

# There when they are asked for; the others above register what a `.keras` file may hold.
_LATER = ("cost", "datasets", "export", "images", "insights", "metrics", "super_resolution", "weights")


def __getattr__(name):
    if name in _LATER:
        return importlib.import_module(f"keras_moe.{name}")
    raise AttributeError(f"module 'keras_moe' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LATER})
