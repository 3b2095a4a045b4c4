"""Trained, unpublished segmentation recipes on the validation parts of their data: what settings are chosen by.

    KERAS_MOE_DATA=<folder> python -m benchmarks.segmentation_validation patcher_lite0_kvasir [NAME …] [--split test]

Kvasir: Dice on its 100 validation images as they are, and in other colours and sizes, a stand-in for the images of
another hospital. CamVid: mean IoU on its 101 validation images, all by day; of a mixture also that of the mean of its
experts and of each expert. ``--split test`` measures the same on the test images, once the settings are final.
"""

import argparse
import pathlib

import numpy as np

from keras_moe import metrics
from keras_moe.datasets import camvid, kvasir
from keras_moe.models import SegmentationMoE
from keras_moe.recipes import load_recipe
from keras_moe.recipes.publishing.measures import measure_polyps
from keras_moe.training import MaskBatches, MaskViews

ELSEWHERE = MaskViews(zoom=1.2, shrink=1.6, recolor=1, degrade=0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs"))
    arguments = parser.parse_args()
    for name in arguments.names:
        recipe = load_recipe(name)
        model = recipe.build(weights=arguments.runs / name / "seed0" / "weights.safetensors")
        measure = {"kvasir": _polyps, "camvid": _scenes}[recipe.dataset.name]
        print(name, {what: round(value, 4) for what, value in measure(model, arguments.split).items()}, flush=True)


def _polyps(model, split):
    images, masks = kvasir(split)
    elsewhere = MaskBatches(images, masks, len(images), views=ELSEWHERE)[0]
    sets = {"dice": (images, masks), "dice elsewhere": (elsewhere[0], elsewhere[1] == 1)}
    return {name: measure_polyps(model, *pair)["dice"] for name, pair in sets.items()}


def _scenes(model, split):
    images, masks, _ = camvid(split, model.input_shape[1:3])
    networks = {"miou": model}
    if isinstance(model, SegmentationMoE):
        networks["miou of the mean"] = model.ensemble("mean")
    values = {name: metrics.measure_segmenter(net, images, masks, 11)["miou"] for name, net in networks.items()}
    if isinstance(model, SegmentationMoE):
        values |= {f"miou of expert {k}": metrics.mean_iou(c) for k, c in enumerate(_experts(model, images, masks))}
    return values


def _experts(model, images, masks):
    """The confusion matrix of each expert alone."""
    total, outputs = 0, model.expert_outputs()
    for image, mask in zip(images, masks, strict=True):
        guesses = np.asarray(outputs.predict_on_batch(image[None].astype("float32"))["experts"])[0].argmax(-1)
        total += np.stack([metrics.confusion_matrix(mask, guess, 11) for guess in guesses])
    return total


if __name__ == "__main__":
    main()
