"""fsrcnn_x4: the dense baseline of classsr_fsrcnn_x4, its hard branch trained on all patches.

    KERAS_BACKEND=jax KERAS_MOE_DATA=FOLDER python -m keras_moe.recipes fsrcnn_x4 [--publish]

Meant for a GPU, where it takes minutes.
"""

from keras_moe.recipes.shared.super_resolution import fsrcnn

RECIPE = fsrcnn(scale=4, epochs=57, squared=30)
