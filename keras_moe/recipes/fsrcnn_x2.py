"""fsrcnn_x2: the dense baseline of classsr_fsrcnn_x2, its hard branch trained on all patches.

    KERAS_BACKEND=jax KERAS_MOE_DATA=FOLDER python -m keras_moe.recipes fsrcnn_x2 [--publish]

Meant for a GPU, where it takes minutes.
"""

from keras_moe.recipes.shared.super_resolution import fsrcnn

RECIPE = fsrcnn(scale=2, epochs=56, squared=50)
