"""segmentation_camvid: a day expert and a dusk expert for driving scenes, weighed class by class.

    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes deeplab_camvid        # the network that both start from
    KERAS_MOE_DATA=<folder> python -m keras_moe.recipes segmentation_camvid [--publish]

Both experts start as ``deeplab_camvid`` of the same seed and learn on their own domain alone (305 images by day, 62 at
dusk), each as long as 20 epochs of all 367. Then they are frozen, and the gate per class and the 3x3 convolution learn
from all images for 8 epochs. The paper trains its experts from random weights:
``benchmarks/segmentation_report.py`` has both ways.
"""

from keras_moe.models import SegmentationMoE
from keras_moe.recipes.publishing.measures import measure_on_camvid
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.recipes.shared.camvid import SMALL

CONFIG: Config = {**SMALL.config, "num_experts": 2, "gate_kind": "class", "conv": True}

RECIPE = ModelRecipe(
    name="segmentation_camvid",
    summary="Day and dusk experts on CamVid, weighed per class: both run for every image, which saves no "
    "compute. The sparse form, which does, is in report.md.",
    paper="Pavlitskaya, Hubschneider, Weber, Moritz, Hueger, Schlicht, Zoellner: Using Mixture of Expert Models "
    "to Gain Insights into Semantic Segmentation, SAIAD at CVPR 2020",
    paper_url="https://openaccess.thecvf.com/CVPR2020_workshops/CVPR2020_w20",
    model=SegmentationMoE,
    recipe_note="A trained base, two experts of as many images as 20 epochs of everything each, a gate of 8 "
    "epochs, by AdamW at batch 8, cosines from 1e-3; two CPU cores, TensorFlow.",
    config=CONFIG,
    baseline=SMALL.dense,
    dataset=SMALL.dataset,
    measure=measure_on_camvid,
    train=SMALL.train_mixture,
    epochs=SMALL.expert.epochs,
)
