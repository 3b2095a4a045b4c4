"""Images per second of one published LiteRT file that several threads ask, and what a lock around it would give.

python -m benchmarks.threads [FILE]
"""

import argparse
import concurrent.futures
import contextlib
import statistics
import threading
import time

from keras_moe.export import LiteRTModel
from keras_moe.images import crops
from keras_moe.zoo.store import published_folder

ROUNDS, IMAGES = 7, 400


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", default=published_folder() / "hydranet_cifar100" / "routed_int8.tflite")
    model = LiteRTModel(parser.parse_args().file)
    images = crops(model.description["input_shape"], IMAGES)
    turns = {"pool": contextlib.nullcontext(), "lock": threading.Lock()}
    rates_of = {(name, count): [] for count in (1, 2, 8) for name in turns}
    for _ in range(ROUNDS):
        for (name, count), rates in rates_of.items():
            rates.append(_rate(model, images, turns[name], count))
    print("threads  images/s  of them with a lock, median of", ROUNDS, "rounds")
    for count in (1, 2, 8):
        pool, lock = (statistics.median(rates_of[name, count]) for name in turns)
        print(f"{count:7d}  {pool:8.0f}  {lock / pool:.2f}")


def _rate(model, images, turn, count):
    def ask(image):
        with turn:
            model.predict(image[None])

    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        list(threads.map(ask, images[: 4 * count]))
        start = time.perf_counter()
        list(threads.map(ask, images))
        return len(images) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
