"""A depthwise network on each backend, beside TensorFlow and beside Keras' own depthwise layer: ratios of one run.

    python -m benchmarks.backbones [--backbone efficientnet_lite0] [--size 160] [--rounds 5]

Forward of a batch, of one image, and a training step, each compiled by the backend; every backend is a process of its
own, and the rounds take turns. *own* is the backbone as the package builds it, *Keras'* the same network with
``keras.layers.DepthwiseConv2D``. The medians are printed as images per second, and as a share of TensorFlow's.
"""

import argparse
import json
import os
import subprocess
import sys
import time

BACKENDS = ("tensorflow", "jax", "torch")
TASKS = ("forward", "one image", "training")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return _work(arguments)
    workers = {backend: _start(backend) for backend in BACKENDS}
    speeds = {backend: [] for backend in BACKENDS}
    for worker in workers.values():
        json.loads(worker.stdout.readline())  # compiled
    for _ in range(arguments.rounds):
        for backend, worker in workers.items():
            print(file=worker.stdin, flush=True)
            speeds[backend].append(json.loads(worker.stdout.readline()))
    _report(speeds, arguments)


def _start(backend):
    command = [sys.executable, "-m", "benchmarks.backbones", "--worker", *sys.argv[1:]]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _report(speeds, arguments):
    import numpy as np

    print(f"{arguments.backbone} at {arguments.size} px, batch {arguments.batch}: images/s, share of TensorFlow's")
    for task in TASKS:
        for kind in ("own", "Keras'"):
            medians = {b: np.median([found[f"{task}, {kind}"] for found in speeds[b]]) for b in BACKENDS}
            cells = [f"{b} {v:8.1f} ({v / medians['tensorflow']:.2f})" for b, v in medians.items()]
            print(f"{task:10} {kind:7}", *cells, sep="  ")


def _work(arguments):
    """Answers each line of the input with images per second, by task and kind."""
    import numpy as np

    runs = {}
    for kind in ("own", "Keras'"):
        for task, run, images in _tasks(_network(kind, arguments), arguments, np.random.default_rng(0)):
            run()
            run()
            runs[f"{task}, {kind}"] = run, images
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        print(json.dumps({name: images / _seconds(run) for name, (run, images) in runs.items()}), flush=True)


def _seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _network(kind, arguments):
    import keras

    from keras_moe.layers import DepthwiseConv2D
    from keras_moe.models import Classifier

    shape = (arguments.size, arguments.size, 3)
    model = Classifier(shape, backbone=arguments.backbone, classes=100, classifier_activation=None)
    own = keras.Model(model.inputs, model.outputs)
    if kind == "own":
        return own

    def theirs(layer):
        if isinstance(layer, DepthwiseConv2D):
            return keras.layers.DepthwiseConv2D.from_config(layer.get_config())
        return layer.__class__.from_config(layer.get_config())

    return keras.models.clone_model(own, clone_function=theirs, recursive=True)


def _tasks(network, arguments, rng):
    import keras
    import numpy as np

    images = rng.uniform(0, 255, (arguments.batch, *network.input_shape[1:])).astype("float32")
    labels = np.arange(arguments.batch) % 100
    yield "forward", lambda: network.predict_on_batch(images), arguments.batch
    yield "one image", lambda: network.predict_on_batch(images[:1]), 1
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    yield "training", lambda: network.train_on_batch(images, labels), arguments.batch


if __name__ == "__main__":
    main()
