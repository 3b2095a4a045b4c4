"""Vision mixtures of experts for Keras 3: gates, expert banks and ensemblers, staged training, a zoo."""

import importlib
import sys

# Importing these registers what a `.keras` file may hold. The command waits: to show a card it needs no Keras.
if "keras_moe_cli" not in sys.modules:
    from keras_moe import layers as layers
    from keras_moe import models as models
    from keras_moe import training as training
    from keras_moe import zoo as zoo

__version__ = "0.1.0"

# There when they are asked for.
_LATER = (
    "classify", "cost", "datasets", "export", "graph", "images", "insights", "layers", "metrics", "models", "picture",
    "recipes", "super_resolution", "training", "weights", "zoo",
)  # fmt: skip


def __getattr__(name: str) -> object:
    if name in _LATER:
        return importlib.import_module(f"keras_moe.{name}")
    raise AttributeError(f"module 'keras_moe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
