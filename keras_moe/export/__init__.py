"""From a trained model to files for other runtimes."""

from keras_moe.export.compress import Compressed as Compressed
from keras_moe.export.compress import compress as compress
