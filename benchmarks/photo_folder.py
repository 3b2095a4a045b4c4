"""A folder of photographs to fine-tune on: of the test photographs, a folder for each class of one domain.

    python -m benchmarks.photo_folder OUT [--domain objects] [--each 20] [--size 224]

They are scaled up from 168 pixels to ``--size``. The published photo models know these classes, not these photographs.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image

from keras_moe import datasets
from keras_moe.datasets.photos import PHOTOS_DOMAINS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--domain", default="objects", choices=PHOTOS_DOMAINS)
    parser.add_argument("--each", type=int, default=20, help="photographs of a class at most")
    parser.add_argument("--size", type=int, default=224, help="pixels of a side")
    arguments = parser.parse_args()
    images, labels = datasets.photos("test")
    names, domains = datasets.photos_classes()
    chosen = [label for label, domain in enumerate(domains) if domain == arguments.domain]
    for label in chosen:
        folder = arguments.out / names[label]
        folder.mkdir(parents=True)
        for i in np.flatnonzero(labels == label)[: arguments.each]:
            photograph = Image.fromarray(images[i]).resize((arguments.size, arguments.size), Image.Resampling.BICUBIC)
            photograph.save(folder / f"{i}.jpg", quality=90)
    photographs = sum(1 for _ in arguments.out.glob("*/*.jpg"))
    print(f"{photographs:,} photographs of {len(chosen)} classes, {arguments.size} px")


if __name__ == "__main__":
    main()
