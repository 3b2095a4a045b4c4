"""The console script ``keras-moe``.

``keras_moe`` sees this module loaded and leaves Keras to the sub-commands that need a model: ``list``, ``info`` and
``--help`` print at once. Programs import ``keras_moe``, not this.
"""

from keras_moe.cli import main as main
