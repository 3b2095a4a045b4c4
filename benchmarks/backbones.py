"""A depthwise network on each backend, beside TensorFlow and beside Keras' own depthwise layer: ratios of one run.

    python -m benchmarks.backbones [--backbone efficientnet_lite0] [--size 160] [--rounds 5] [--large-pages]

Forward of a batch, of one image, and a training step, each compiled by the backend; every backend is a process of its
own, and the rounds take turns. A task is called again and again for some seconds in each round, as in use. *own* is
the backbone as the package builds it, *Keras'* the same network with ``keras.layers.DepthwiseConv2D`` and Keras' own
operations. *native* is the network that the package ``efficientnet-lite-pytorch`` builds without Keras, in the format
``channels_last``. The medians are printed as images per second, and as a share of TensorFlow's. ``--large-pages`` has
glibc ask the system for memory in large pages: JAX asks for new memory in each step.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

BACKENDS = ("tensorflow", "jax", "torch")
TASKS = ("forward", "one image", "training")
KINDS = ("own", "Keras'", "native")
TURN = 4  # seconds of a task in a round
WARM = {"forward": 12, "one image": 12, "training": 2}  # calls; after ten the package traces on PyTorch


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large-pages", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return _work(arguments)
    workers = {backend: _start(backend, arguments.large_pages) for backend in BACKENDS}
    speeds = {backend: [] for backend in BACKENDS}
    for worker in workers.values():
        json.loads(worker.stdout.readline())  # compiled
    for _ in range(arguments.rounds):
        for backend, worker in workers.items():
            print(file=worker.stdin, flush=True)
            speeds[backend].append(json.loads(worker.stdout.readline()))
    _report(speeds, arguments)


def _start(backend, large_pages):
    command = [sys.executable, "-m", "benchmarks.backbones", "--worker", *sys.argv[1:]]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"} if large_pages else {}
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _report(speeds, arguments):
    import numpy as np

    print(f"{arguments.backbone} at {arguments.size} px, batch {arguments.batch}: images/s, share of TensorFlow's")
    for task in TASKS:
        for kind in KINDS:
            name = f"{task}, {kind}"
            medians = {b: np.median([found[name] for found in speeds[b]]) for b in BACKENDS if name in speeds[b][0]}
            base = np.median([found[f"{task}, own"] for found in speeds["tensorflow"]])
            print(f"{task:10} {kind:7}", *(f"{b} {v:8.1f} ({v / base:.2f})" for b, v in medians.items()), sep="  ")


def _work(arguments):
    """Prints for each line of the input images per second, by task and kind."""
    import numpy as np

    runs, rng = {}, np.random.default_rng(0)
    images = rng.uniform(0, 255, (arguments.batch, arguments.size, arguments.size, 3)).astype("float32")
    for kind in KINDS:
        for task, run, count in _native(images, arguments) if kind == "native" else _tasks(kind, images, arguments):
            for _ in range(WARM[task]):
                run()
            runs[f"{task}, {kind}"] = run, count
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        print(json.dumps({name: images / _seconds(run) for name, (run, images) in runs.items()}), flush=True)


def _seconds(run):
    """The median of the calls that begin within a turn; those of a slow task are few."""
    seconds, end = [], time.perf_counter() + TURN
    while not seconds or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _network(kind, arguments):
    import keras

    from keras_moe.layers import DepthwiseConv2D
    from keras_moe.models import Classifier

    shape = (arguments.size, arguments.size, 3)
    model = Classifier(shape, backbone=arguments.backbone, classes=100, classifier_activation=None)
    if kind == "own":
        return model

    def theirs(layer):
        if isinstance(layer, DepthwiseConv2D):
            return keras.layers.DepthwiseConv2D.from_config(layer.get_config())
        return layer.__class__.from_config(layer.get_config())

    plain = keras.Model(model.inputs, model.outputs)
    return keras.models.clone_model(plain, clone_function=theirs, recursive=True)


def _tasks(kind, images, arguments):
    import keras
    import numpy as np

    network, labels = _network(kind, arguments), np.arange(len(images)) % 100
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    own = _as_keras if kind == "Keras'" else lambda run: run
    yield "forward", own(lambda: network.predict_on_batch(images)), len(images)
    yield "one image", own(lambda: network.predict_on_batch(images[:1])), 1
    yield "training", own(lambda: network.train_on_batch(images, labels)), len(images)


def _as_keras(run):
    """``run`` with the operations that Keras has."""
    import keras

    if keras.backend.backend() == "tensorflow":
        return run
    if keras.backend.backend() == "torch":
        from keras_moe.torch_maps import spare_copies as switch
    else:
        from keras_moe.jax_maps import multiply_pixels as switch

    def with_them():
        switch(False)
        run()
        switch()

    return with_them


def _native(images, arguments):
    """The tasks without Keras, on PyTorch alone."""
    if os.environ["KERAS_BACKEND"] != "torch":
        return
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name(arguments.backbone.replace("_", "-"), num_classes=100)
    network.to(memory_format=torch.channels_last).eval()
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    x = torch.tensor(images).permute(0, 3, 1, 2)
    labels = torch.arange(len(x)) % 100

    def forward(x):
        network.eval()
        with torch.no_grad():
            network(x).numpy()

    def train():
        network.train()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x), labels).backward()
        optimizer.step()

    yield "forward", lambda: forward(x), len(x)
    yield "one image", lambda: forward(x[:1]), 1
    yield "training", train, len(x)


if __name__ == "__main__":
    main()
