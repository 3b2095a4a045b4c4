"""A training step of a HydraNet beside its stem, gate and one expert, on the backend that KERAS_BACKEND names.

    KERAS_BACKEND=jax python -m benchmarks.training_step [--backbone resnet20] [--size 32] [--batch 256] [--experts 8]

*routed* sends each image to one expert, chosen by noise on the gate's logits, so that the shares are even. *ideal* is
the same network with a single expert and no routing; *dense* is *routed* with every expert on every image. The rounds
take turns within one run; the medians are printed, and the seconds until the first step is done, most of which is
compiling.
"""

import argparse
import contextlib
import time

import keras
import numpy as np

from keras_moe.layers import every_expert
from keras_moe.models import HydraNet
from keras_moe.training.stages import jit_compile


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet20")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dense", action="store_true", help="measure dense, too")
    arguments = parser.parse_args()

    rng = np.random.default_rng(0)
    shape = (arguments.batch, arguments.size, arguments.size, 3)
    images, labels = rng.uniform(0, 255, shape).astype("float32"), np.arange(arguments.batch) % 100
    runs = {
        "ideal": _step(1, arguments, images, labels, every_expert),
        "routed": _step(arguments.experts, arguments, images, labels),
    }
    if arguments.dense:
        runs["dense"] = _step(arguments.experts, arguments, images, labels, every_expert)
    first = {name: _seconds(run) for name, run in runs.items()}
    seconds = {name: [] for name in runs}
    for round in range(arguments.rounds + 1):
        for name, run in runs.items():
            passed = _seconds(run)
            if round:  # the first warms up
                seconds[name].append(passed)
    medians = {name: float(np.median(each)) for name, each in seconds.items()}
    print(f"{keras.backend.backend()}: {arguments.backbone} at {arguments.size} px, 1 of {arguments.experts} experts")
    for name, median in medians.items():
        print(f"{name:7} {median:8.3f} s a step  {median / medians['ideal']:5.2f} of ideal  first {first[name]:6.1f} s")


def _step(experts, arguments, images, labels, context=contextlib.nullcontext):
    shape = (arguments.size, arguments.size, 3)
    model = HydraNet(
        shape, backbone=arguments.backbone, num_experts=experts, top_k=1, noise_std=100.0, classifier_activation=None
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-4), loss, jit_compile=jit_compile())

    def run():
        with context():
            model.train_on_batch(images, labels)

    return run


def _seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
