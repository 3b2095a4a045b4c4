"""deeplab_camvid: the dense baseline of the CamVid mixture, a light DeepLabv3+ trained on all domains.

    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes deeplab_camvid [--publish]

A ResNet-14 down to an eighth of the image, ASPP and decoder, from random weights. 70 epochs of AdamW at batch 8, a
cosine from 2e-3, flips and windows of 2/3 to 1 of either side, on the 367 training images at 120x160: a short training
of a small network at a third of the resolution, not to be compared with published figures of CamVid.
"""

from keras_moe.models import Segmenter
from keras_moe.recipes.publishing.measures import measure_on_camvid
from keras_moe.recipes.publishing.recipe import ModelRecipe
from keras_moe.recipes.shared.camvid import SMALL

RECIPE = ModelRecipe(
    name="deeplab_camvid",
    summary="Light DeepLabv3+ on CamVid, day and dusk together: every image runs all of it.",
    paper="Chen, Zhu, Papandreou, Schroff, Adam: Encoder-Decoder with Atrous Separable Convolution for Semantic "
    "Image Segmentation, ECCV 2018",
    paper_url="https://arxiv.org/abs/1802.02611",
    model=Segmenter,
    recipe_note="70 epochs of AdamW at batch 8, a cosine from 2e-3, from random weights; two CPU cores, TensorFlow.",
    config=SMALL.config,
    dataset=SMALL.dataset,
    measure=measure_on_camvid,
    train=SMALL.train_dense,
    epochs=SMALL.base.epochs,
)
