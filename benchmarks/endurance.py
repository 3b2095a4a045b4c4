"""Does it hold for long? Predictions in one process, loading again and again, trainings that are killed; 1 if not.

    python -m benchmarks.endurance predictions [--count 100000] [--model test_hydranet]
    python -m benchmarks.endurance models [--count 100] [--pattern 'test_*']
    python -m benchmarks.endurance kills [--count 20] [--epochs 3]

On the backend that KERAS_BACKEND names; `make endurance` runs all, and the load test of the service for ten minutes.
Memory is read from /proc and freed by glibc, and trainings are forked: Linux alone.
"""

import argparse
import ctypes
import gc
import os
import pathlib
import random
import re
import signal
import sys
import tempfile
import time

import keras
import numpy as np

from keras_moe import zoo
from keras_moe.classify import classify
from keras_moe.images import crops
from keras_moe.recipes import load_recipe
from keras_moe.weights import read_tensors

WARM = 0.1  # the share of a run after which memory must be flat
MOST_GROWTH = 20.0  # megabytes that it may grow by from then on: pages that an allocator cannot give back
RECIPE = "test_hydranet"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    added = commands.add_parser("predictions", help="of one image each, as the service asks for them")
    added.add_argument("--count", type=int, default=100_000)
    added.add_argument("--model", default="test_hydranet")
    added.set_defaults(run=predictions)
    added = commands.add_parser("models", help="each is loaded, asked and dropped")
    added.add_argument("--count", type=int, default=100)
    added.add_argument("--pattern", default="*", help="of names (default: all)")
    added.set_defaults(run=load_models)
    added = commands.add_parser("kills", help="a training is killed at a random moment and resumed")
    added.add_argument("--count", type=int, default=20)
    added.add_argument("--epochs", type=int, default=3)
    added.set_defaults(run=kills)
    arguments = parser.parse_args()
    keras.config.disable_interactive_logging()
    return arguments.run(arguments)


def predictions(arguments):
    model, card = zoo.load(arguments.model, classifier_activation="softmax"), zoo.card(arguments.model)
    images = crops(card.input.shape, 64)

    def ask(i):
        (found,) = classify(model, card, images[None, i % len(images)])
        assert found.top[0][1] > 0

    return _flat(f"predictions of {arguments.model}", arguments.count, ask)


def load_models(arguments):
    def load(name):
        model = zoo.load(name)
        model.predict(np.zeros((1, *model.input_shape[1:])), verbose=0)
        keras.utils.clear_session()

    names = zoo.list_models(arguments.pattern)
    return max(_flat(f"times {name} was loaded", arguments.count, lambda i, name=name: load(name)) for name in names)


def _flat(what, count, step):
    """Calls ``step(i)`` ``count`` times; prints how long it took and how memory grew once it was warm."""
    start, memory = time.perf_counter(), []
    for i in range(count):
        if i in (0, int(WARM * count)):
            memory.append(_memory())
        step(i)
    memory.append(_memory())
    seconds, growth = time.perf_counter() - start, memory[-1] - memory[-2]
    at = " -> ".join(f"{megabytes:.0f}" for megabytes in memory)
    print(f"{keras.backend.backend()}: {count:,} {what}, {1000 * seconds / count:.2f} ms each, {at} MB", flush=True)
    return int(growth > MOST_GROWTH)


def _memory():
    """Resident megabytes of this process, once what is free is given back."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) / 1024


def kills(arguments):
    """Every resumed training ends in the very weights of one that was never killed."""
    with tempfile.TemporaryDirectory() as root:
        start = time.perf_counter()
        assert _awaited(_training(root, "whole", arguments.epochs)) == 0
        seconds, whole = time.perf_counter() - start, _state(root, "whole")
        rng, killed, same = random.Random(0), 0, 0
        while killed < arguments.count:
            folder = f"cut_{killed}_{seconds}"
            process = _training(root, folder, arguments.epochs)
            time.sleep(rng.uniform(0, seconds))
            os.kill(process, signal.SIGKILL)
            if _awaited(process) == 0:  # it was over before
                seconds *= 0.9
                continue
            killed += 1
            assert _awaited(_training(root, folder, arguments.epochs)) == 0
            same += _state(root, folder) == whole
    print(f"{keras.backend.backend()}: {killed} trainings were killed, each within {seconds:.0f} s")
    print(f"{same} of {killed} ended as the one that was not")
    return int(same < killed)


def _training(root, name, epochs):
    """The process of a training in a folder. It is forked, for it would import Keras for seconds."""
    process = os.fork()
    if process == 0:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # to the end of the process
        recipe = load_recipe(RECIPE)
        keras.utils.set_random_seed(1)
        recipe.train(recipe.model(**recipe.config), 1, pathlib.Path(root, name), epochs)
        os._exit(0)
    return process


def _awaited(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _state(root, name):
    """Name -> bytes of every variable that a training kept, of the model and its optimizer."""
    tensors = read_tensors(pathlib.Path(root, name, "checkpoint.safetensors"))
    return {name: array.tobytes() for name, array in tensors.items()}


if __name__ == "__main__":
    sys.exit(main())
