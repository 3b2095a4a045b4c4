"""fsrcnn_x4: the dense baseline of classsr_fsrcnn_x4, its hard branch trained on all patches.

    KERAS_BACKEND=jax KERAS_MOE_DATA=FOLDER python zoo/fsrcnn_x4/recipe.py [--publish]

Meant for a GPU, where it takes minutes.
"""

import pathlib

from keras_moe.zoo.publish import main
from keras_moe.zoo.super_resolution import fsrcnn

MODEL = fsrcnn(scale=4, epochs=57, squared=30)

if __name__ == "__main__":
    main(MODEL, pathlib.Path(__file__).parent)
