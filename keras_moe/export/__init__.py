"""To phones and accelerators: LiteRT (TFLite) files in which only the chosen experts run, and back to numbers."""

from keras_moe.export.integrity import IntegrityError as IntegrityError
from keras_moe.export.litert import litert as litert
from keras_moe.export.parity import ParityError as ParityError
from keras_moe.export.runtime import LiteRTModel as LiteRTModel
