"""Seconds until a published model has predicted, from a cold start, on each backend.

    python -m benchmarks.cold_start [--models hydranet_cifar100 hydranet_photos] [--rounds 3] [--photo photo.jpg]

Each measurement is a process of its own; the least of the rounds is printed. *keras* is ``import keras`` alone, with
the backend, which no package on top of it can go below. *load* is ``zoo.load`` alone, after Keras
and the package have been imported; *again* the same once more in that process. *predict* is the whole command
``keras-moe predict NAME PHOTO``.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

BACKENDS = ("tensorflow", "jax", "torch")
LOAD = """
import json, sys, time
import keras_moe
seconds = []
for _ in range(2):
    start = time.perf_counter()
    keras_moe.zoo.load(sys.argv[1])
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["hydranet_cifar100", "hydranet_photos"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photo", help="default: random pixels")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photo = arguments.photo or _pixels(pathlib.Path(folder))
        keras = {backend: min(_import(backend) for _ in range(arguments.rounds)) for backend in BACKENDS}
        print(f"{'model':20} {'backend':10} {'load':>6} {'again':>6} {'predict':>8} {'keras':>6}   seconds")
        for model in arguments.models:
            for backend in BACKENDS:
                loads = [_load(model, backend) for _ in range(arguments.rounds)]
                predict = min(_predict(model, photo, backend) for _ in range(arguments.rounds))
                load, again = (min(seconds) for seconds in zip(*loads, strict=True))
                print(
                    f"{model:20} {backend:10} {load:6.2f} {again:6.2f} {predict:8.2f} {keras[backend]:6.2f}", flush=True
                )


def _pixels(folder):
    import numpy as np
    from PIL import Image

    path = folder / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (480, 640, 3), "uint8")).save(path)
    return str(path)


def _load(model, backend):
    return json.loads(_run(backend, "-c", LOAD, model).splitlines()[-1])


def _predict(model, photo, backend):
    return _timed(backend, "import keras_moe_cli; raise SystemExit(keras_moe_cli.main())", "predict", model, photo)


def _import(backend):
    return _timed(backend, "import keras")


def _timed(backend, code, *arguments):
    start = time.perf_counter()
    _run(backend, "-c", code, *arguments)
    return time.perf_counter() - start


def _run(backend, *arguments):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=True
    ).stdout


if __name__ == "__main__":
    main()
