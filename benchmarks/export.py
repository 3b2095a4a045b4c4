"""Seconds to export published models as int8 LiteRT files, calibrated with 100 images.

    KERAS_BACKEND=tensorflow python -m benchmarks.export [NAME …] [--profile]

The files are checked against Keras, as ``keras-moe export`` does. ``--profile`` prints the functions that take longest.
"""

import argparse
import cProfile
import pathlib
import pstats
import tempfile
import time

from keras_moe import zoo
from keras_moe.export import litert
from keras_moe.recipes import load_recipe

NAMES = ("hydranet_photos", "segmentation_sparse_lite0_camvid", "classsr_fsrcnn_x2", "hydranet_cifar100")
IMAGES = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    print("| model | input | images | seconds | bytes |\n|---|---|---|---|---|")
    for name in arguments.names:
        profile = cProfile.Profile()
        seconds, report, count = profile.runcall(_export, name) if arguments.profile else _export(name)
        shape = "x".join(map(str, zoo.card(name).input.shape))
        print(f"| `{name}` | {shape} | {count} | {seconds:.0f} | {report['bytes']:,} |", flush=True)
        if arguments.profile:
            pstats.Stats(profile).sort_stats("cumulative").print_stats("keras_moe", 25)


def _export(name):
    card, model = zoo.card(name), zoo.load(name)
    images = load_recipe(name).dataset.load_calibration(card.input.shape)[:IMAGES]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        report = litert(
            model, pathlib.Path(folder, "model.tflite"), quantize="int8", representative_dataset=images, card=card
        )
        return time.perf_counter() - start, report, len(images)


if __name__ == "__main__":
    main()
