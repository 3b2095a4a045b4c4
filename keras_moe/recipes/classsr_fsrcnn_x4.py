"""classsr_fsrcnn_x4: three FSRCNNs that enlarge photographs x4, each patch by the smallest that suffices.

    KERAS_BACKEND=jax KERAS_MOE_DATA=FOLDER python -m keras_moe.recipes classsr_fsrcnn_x4 [--publish]

ClassSR's stages on BSD400 and T91: each branch alone on its third of the patches by bicubic PSNR, then the class
module, then all together; then the class module on the branches' errors and the branches on the patches of their use;
see ``keras_moe.training.train_classsr``. Low resolution is Pillow's antialiased bicubic on uint8. The class module
looks at one 4x4 block of sixteen, and the knob is set on held-out photographs; the settings are in
``keras_moe.recipes.shared.super_resolution``. Meant for a GPU, where it takes minutes.
"""

from keras_moe.recipes.shared.super_resolution import classsr_fsrcnn
from keras_moe.training import Round

RECIPE = classsr_fsrcnn(
    scale=4,
    rounds=(
        Round("squared", 25, batch_size=32),
        Round("polish", (30, 0, 6), own_third=False, batch_size=32, share=0.61),
    ),
    share=0.55,
    recipe_note="each branch for 25 epochs on what it gets in use and its third, JAX on one GPU until then; the "
    "smallest for 30 and the largest for 6 on what it gets alone, TensorFlow on two CPU cores",
)
