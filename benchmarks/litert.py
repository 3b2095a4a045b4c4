"""Latency and accuracy of exported LiteRT files, as ratios in one run.

    KERAS_BACKEND=tensorflow python -m benchmarks.litert [NAME …] [--images 1000] [--threads 1 2] [--quantize int8]
        [--trunk-precision int8] [--mobilenet]

Every file is timed image by image, on the same test images of the model's data set, the files taking turns every 50:
LiteRT itself, and ``LiteRTModel.predict``, which adds Python that a phone has not. *routed* is compared with the sum of
what it should cost (trunk, router, the chosen experts and head as separate plain files), with *dense*, in which all
experts run, and with the file of the card's dense baseline. ``--mobilenet`` adds ``keras.applications.MobileNetV2`` of
the same input and classes, with random weights, which do not change its time: its accuracy means nothing.
"""

import argparse
import itertools
import pathlib
import tempfile
import time

import keras
import numpy as np

from keras_moe import zoo
from keras_moe.export import LiteRTModel, litert
from keras_moe.models import MoEModel
from keras_moe.recipes import load_recipe

TURN = 50  # images; each file's weights are warm for most of them, as in a stream of images through one network


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["hydranet_cifar100", "single_gated_cifar100"], metavar="NAME")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--quantize", nargs="+", choices=("none", "int8"), default=("none", "int8"))
    parser.add_argument("--trunk-precision", choices=("int8", "float"), help="of routed int8 files")
    parser.add_argument("--mobilenet", action="store_true")
    arguments = parser.parse_args()
    for name, quantize in itertools.product(arguments.names, arguments.quantize):
        with tempfile.TemporaryDirectory() as folder:
            _compare(pathlib.Path(folder), name, None if quantize == "none" else quantize, arguments)


def _compare(folder, name, quantize, arguments):
    card = zoo.card(name)
    dataset = load_recipe(name).dataset
    learn, test = dataset.load_calibration(card.input.shape), dataset.load_test(card.input.shape)
    rows = np.random.default_rng(0).permutation(len(test.images))[: arguments.images]
    files = _files(folder, name, card.baseline, quantize, arguments.trunk_precision, learn, test.images[:1000])
    if arguments.mobilenet:
        files["MobileNetV2"] = folder / "mobilenet.tflite"
        litert(_mobilenet(zoo.load(name)), files["MobileNetV2"], "dense", quantize, learn, learn, check_parity=False)
    for threads in arguments.threads:
        models = {key: LiteRTModel(path, threads) for key, path in files.items()}
        print(f"\n{name}, {quantize or 'float32'}, {len(rows)} images, {threads} thread(s): milliseconds")
        _report(models, test.images[rows], test.labels[rows], dataset.score)


def _files(folder, name, baseline, quantize, trunk_precision, learn, test):
    """What is compared -> path."""
    trunk_precision = trunk_precision if quantize == "int8" else None
    forms = {
        "routed": (name, "routed", trunk_precision),
        "dense": (name, "dense", None),
        "parts": (name, "parts", None),
    } | ({baseline: (baseline, "routed", None)} if baseline else {})
    if quantize == "int8" and trunk_precision is None:
        forms["routed, int8 trunk"] = (name, "routed", "int8")
    files = {}
    for key, (model, form, trunk) in forms.items():
        files[key] = folder / f"{model}_{form}_{quantize}_{trunk}{'.json' if form == 'parts' else '.tflite'}"
        litert(
            zoo.load(model), files[key], form, quantize, learn, test, trunk, card=zoo.card(model), check_parity=False
        )
    return files


def _mobilenet(model):
    """MobileNetV2 as a dense network of the images and classes of ``model``."""
    network = keras.applications.MobileNetV2(
        model.input_shape[1:], weights=None, classes=model.output_shape[-1], classifier_activation=None
    )
    layers = [layer.name for layer in network.layers]
    return MoEModel(network.inputs, network.outputs[0], {"network": layers}, name="mobilenet_v2")


def _report(models, images, labels, score):
    took = {key: [] for key in models}
    predicted = {key: [] for key in models}
    turns = [range(i, min(i + TURN, len(images))) for i in range(0, len(images), TURN)]
    for turn, (key, model) in itertools.product(turns, models.items()):
        for i in turn:
            inside, start = model.runtime_seconds, time.perf_counter()
            predictions = model.predict(images[i : i + 1])
            whole = time.perf_counter() - start
            took[key].append([1e3 * (model.runtime_seconds - inside), 1e3 * whole])
            predicted[key].append(predictions[0])
    middle, late = ({key: np.percentile(times, percent, axis=0) for key, times in took.items()} for percent in (50, 95))
    print(f"{'':24} {'LiteRT':>21}  {'predict':>21}")
    print(f"{'file':24} {'p50':>6} {'p95':>6} {'routed/':>7}  {'p50':>6} {'p95':>6} {'routed/':>7} {'accuracy':>9}")
    for key in models:
        ratios = middle["routed"] / middle[key]
        columns = (f"{a:6.3f} {b:6.3f} {c:7.2f}" for a, b, c in zip(middle[key], late[key], ratios, strict=True))
        print(f"{key:24} {'  '.join(columns)} {score(np.stack(predicted[key]), labels):9.2%}")


if __name__ == "__main__":
    main()
