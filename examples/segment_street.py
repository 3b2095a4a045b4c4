"""A published mixture segments a picture: what is where, and which domain expert was asked.

    python examples/segment_street.py [IMAGE] [--model NAME] [--out PNG]

The models know streets by day and at dusk. Without an image it takes one of scikit-learn's photographs, which is no
street: expect sky and buildings at best.
"""

import argparse

import numpy as np
from PIL import Image

from keras_moe import zoo
from keras_moe.images import open_image, open_photographs

# One colour per class, in the order of CamVid's eleven.
COLOURS = np.array(
    [(128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
     (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)], "uint8",
)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", nargs="?", metavar="IMAGE")
    parser.add_argument("--model", default="segmentation_sparse_lite0_camvid")
    parser.add_argument("--out", default="segmented.png")
    arguments = parser.parse_args()

    model, card = zoo.load(arguments.model), zoo.card(arguments.model)
    image = open_image(arguments.image) if arguments.image else next(iter(open_photographs().values()))
    height, width = model.input_shape[1:3]
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), "float32")
    probabilities, route = model.predict_routed(pixels[None])

    mask = probabilities[0].argmax(-1)
    for k in np.unique(mask):
        print(f"  {np.mean(mask == k):6.1%}  {card.classes[k]}")
    if route is not None and route.ndim == 2:
        print(f"  weights of the day and the dusk expert: {route[0].round(3).tolist()}")
        print(f"  MACs executed: {model.mean_macs(route=route) / 1e6:.0f} M of {model.macs_total / 1e6:.0f} M")
    colours = Image.fromarray(COLOURS[mask]).resize(image.size, Image.Resampling.NEAREST)
    Image.blend(image, colours, 0.5).save(arguments.out)
    print(f"picture: {arguments.out}")


if __name__ == "__main__":
    main()
