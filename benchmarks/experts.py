"""Four experts trained one after another and in two processes: seconds of each, start of the processes included.

    KERAS_BACKEND=tensorflow python -m benchmarks.experts [--epochs 3]

The experts of the published CIFAR-100 single-gated MoE, on the first 20,000 training images.
"""

import argparse
import os
import tempfile
import time

import keras
import numpy as np

from keras_moe import zoo
from keras_moe.datasets import cifar100
from keras_moe.training import Recipe, train_experts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()

    model = zoo.load("single_gated_cifar100", classifier_activation=None)
    before = model.get_weights()
    train = tuple(part[:20000] for part in cifar100()[0])
    seconds, results = {}, {}
    for jobs in (None, arguments.jobs):
        model.set_weights(before)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            train_experts(model, train, folder, Recipe(arguments.epochs), n_jobs=jobs, verbose=0)
            seconds[jobs] = time.perf_counter() - start
        results[jobs] = model.get_weights()
    here, there = seconds.values()
    apart = max(float(np.abs(a - b).max()) for a, b in zip(*results.values(), strict=True))
    backend, experts = keras.backend.backend(), len(model.bank.experts)
    print(f"{backend}, {os.cpu_count()} cores, {experts} experts, {arguments.epochs} epochs")
    print(f"one after another {here:.0f} s, {arguments.jobs} processes {there:.0f} s: {here / there:.2f} x as fast")
    print(f"largest difference between their weights: {apart:g}")


if __name__ == "__main__":
    main()
