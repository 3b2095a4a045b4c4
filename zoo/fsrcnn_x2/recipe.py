"""fsrcnn_x2: the dense baseline of classsr_fsrcnn_x2, its hard branch trained on the harder half of all patches.

KERAS_MOE_DATA=FOLDER python zoo/fsrcnn_x2/recipe.py [--publish]
"""

import pathlib

from keras_moe.zoo.publish import main
from keras_moe.zoo.super_resolution import fsrcnn

MODEL = fsrcnn(scale=2, harder=0.5)

if __name__ == "__main__":
    main(MODEL, pathlib.Path(__file__).parent)
