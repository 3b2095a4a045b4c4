"""Vision mixtures of experts for Keras 3: gates, expert banks and ensemblers, staged training, a zoo."""

__version__ = "0.1.0"

from keras_moe import layers as layers
from keras_moe import models as models
from keras_moe import training as training
from keras_moe import zoo as zoo
