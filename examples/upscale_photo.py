"""A ClassSR enlarges a photograph: the larger image, and which branch each patch of it took.

    python examples/upscale_photo.py [--model NAME] [--out PNG] [--map PNG] [IMAGE]

Without an image it takes a quarter of scikit-learn's photograph of a flower, so that there is something to win back.
"""

import argparse

import numpy as np
from PIL import Image

from keras_moe import zoo
from keras_moe.images import open_image, open_photographs
from keras_moe.super_resolution import route_map


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", nargs="?", metavar="IMAGE")
    parser.add_argument("--model", default="classsr_fsrcnn_x4")
    parser.add_argument("--out", default="upscaled.png")
    parser.add_argument("--map", default="route.png")
    arguments = parser.parse_args()

    model = zoo.load(arguments.model)
    photograph = open_image(arguments.image) if arguments.image else open_photographs()["flower.jpg"].reduce(4)
    upscaled = model.upscale_routed(np.asarray(photograph))
    Image.fromarray(upscaled.image).save(arguments.out)
    route_map(upscaled).save(arguments.map)

    print(f"{photograph.width} x {photograph.height} -> {upscaled.image.shape[1]} x {upscaled.image.shape[0]}")
    for branch, costs in enumerate(model.macs_by_part()["branches"]):
        share = np.mean(upscaled.route == branch)
        print(f"  branch {branch}: {share:6.1%} of the patches, {costs / 1e6:.1f} M MACs per 32x32 patch")
    print(f"{upscaled.macs / 1e9:.2f} billion MACs\npictures: {arguments.out}, {arguments.map}")


if __name__ == "__main__":
    main()
