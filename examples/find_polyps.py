"""A published Patcher looks for polyps on an endoscopy, and shows which scale each pixel relied on.

    python examples/find_polyps.py [IMAGE] [--out PNG]

Without an image it takes the first of Kvasir-SEG's test set from KERAS_MOE_DATA. A network trained for minutes:
an illustration, nothing to diagnose with. Needs the extra ``viz``.
"""

import argparse

import numpy as np
from PIL import Image

from keras_moe import insights, zoo
from keras_moe.datasets import kvasir
from keras_moe.images import open_image

NAME = "patcher_lite0_kvasir"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", nargs="?", metavar="IMAGE")
    parser.add_argument("--out", default="polyps.png")
    arguments = parser.parse_args()

    model, card = zoo.load(NAME), zoo.card(NAME)
    height, width = model.input_shape[1:3]
    image = open_image(arguments.image) if arguments.image else Image.fromarray(kvasir("test")[0][0])
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), "float32")
    probabilities, route = model.predict_routed(pixels[None])

    mask = probabilities[0].argmax(-1)
    for k, name in enumerate(card.classes):
        print(f"  {np.mean(mask == k):6.1%}  {name}")
    for k, weight in enumerate(route[0].mean((0, 1))):
        print(f"  scale {k}, the finest is 0: {weight:.1%} of the weight, averaged over the pixels")
    insights.plot_gate_maps(pixels, route[0]).savefig(arguments.out)
    print(f"picture: {arguments.out}")


if __name__ == "__main__":
    main()
