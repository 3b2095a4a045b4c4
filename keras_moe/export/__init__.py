"""To phones and accelerators: LiteRT (TFLite) files in which only the chosen experts run, and smaller weights."""

from keras_moe.checks import IntegrityError as IntegrityError
from keras_moe.export.compression.pipeline import Compressed as Compressed
from keras_moe.export.compression.pipeline import compress as compress
from keras_moe.export.litert.parity import ParityError as ParityError
from keras_moe.export.litert.pipeline import litert as litert
from keras_moe.export.litert.runtime import LiteRTModel as LiteRTModel
