"""Latency and accuracy of exported LiteRT files, as ratios in one run.

    KERAS_BACKEND=tensorflow python -m benchmarks.litert [--images 1000]

Every file is timed image by image on one thread, on the same CIFAR-100 test images, the files taking turns every 50:
LiteRT itself, and ``LiteRTModel.predict``, which adds Python that a phone has not. *routed* is compared with the sum of
what it should cost (trunk, router, the chosen experts and head as separate plain files), with *dense*, in which all
experts run, and with the dense baseline's file.
"""

import argparse
import itertools
import pathlib
import tempfile
import time

import numpy as np

from keras_moe import zoo
from keras_moe.datasets import cifar100
from keras_moe.export import LiteRTModel, litert

TURN = 50  # images; each file's weights are warm for most of them, as in a stream of images through one network

PAIRS = (("hydranet_cifar100", "resnet20_cifar100"), ("single_gated_cifar100", "resnet20_cifar100"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    images = parser.parse_args().images
    (learn, _), (test, labels) = cifar100()
    with tempfile.TemporaryDirectory() as folder:
        for name, baseline in PAIRS:
            for quantize in (None, "int8"):
                files = _files(pathlib.Path(folder), name, baseline, quantize, learn[:1000], test[:1000])
                _report(name, quantize, {k: LiteRTModel(p) for k, p in files.items()}, test[:images], labels[:images])


def _files(folder, name, baseline, quantize, learn, test):
    """What is compared -> path."""
    forms = {
        "routed": (name, "routed", None),
        "dense": (name, "dense", None),
        "parts": (name, "parts", None),
        baseline: (baseline, "routed", None),
    }
    if quantize == "int8":
        forms["routed, int8 gate"] = (name, "routed", "int8")
    files = {}
    for key, (model, form, gate) in forms.items():
        files[key] = folder / f"{model}_{form}_{quantize}_{gate}{'.json' if form == 'parts' else '.tflite'}"
        litert(zoo.load(model), files[key], form, quantize, learn, test, gate, card=zoo.card(model), check_parity=False)
    return files


def _report(name, quantize, models, images, labels):
    took = {key: [] for key in models}
    right = {key: [] for key in models}
    turns = [range(i, min(i + TURN, len(images))) for i in range(0, len(images), TURN)]
    for turn, (key, model) in itertools.product(turns, models.items()):
        for i in turn:
            inside, start = model.runtime_seconds, time.perf_counter()
            predictions = model.predict(images[i : i + 1])
            whole = time.perf_counter() - start
            took[key].append([1e3 * (model.runtime_seconds - inside), 1e3 * whole])
            right[key].append(predictions.argmax() == labels[i])
    middle, late = ({key: np.percentile(times, percent, axis=0) for key, times in took.items()} for percent in (50, 95))
    print(f"\n{name}, {quantize or 'float32'}, {len(images)} images, one thread: milliseconds")
    print(f"{'':24} {'LiteRT':>21}  {'predict':>21}")
    print(f"{'file':24} {'p50':>6} {'p95':>6} {'routed/':>7}  {'p50':>6} {'p95':>6} {'routed/':>7} {'accuracy':>9}")
    for key in models:
        ratios = middle["routed"] / middle[key]
        columns = (f"{a:6.3f} {b:6.3f} {c:7.2f}" for a, b, c in zip(middle[key], late[key], ratios, strict=True))
        print(f"{key:24} {'  '.join(columns)} {np.mean(right[key]):9.2%}")


if __name__ == "__main__":
    main()
