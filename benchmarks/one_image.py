"""Milliseconds for one image, as an app asks: Keras' ``predict``, ``predict_routed``, and the dense network beside it.

    python -m benchmarks.one_image [NAME …]

On the backend that KERAS_BACKEND names; by default of the photo model. All take turns within a round.
"""

import argparse
import statistics
import time

import keras

from keras_moe import zoo
from keras_moe.images import crops

ROUNDS = 40


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["hydranet_photos"])
    print(f"{keras.backend.backend()}: milliseconds, median of {ROUNDS} rounds")
    print("model                   predict  predict_routed  its baseline's  routed/predict  routed/baseline")
    for name in parser.parse_args().names:
        print(_row(name))


def _row(name):
    card, model = zoo.card(name), zoo.load(name)
    image = crops(card.input.shape, 1)
    asked = [lambda: model.predict(image, verbose=0), lambda: model.predict_routed(image)]
    if card.baseline:
        dense = zoo.load(card.baseline)
        asked.append(lambda: dense.predict_routed(image))
    predicted, routed, *baseline = _medians(asked)
    row = f"{name:22s}  {predicted:7.1f}  {routed:14.1f}"
    if not baseline:
        return f"{row}  {'':14s}  {routed / predicted:14.2f}"
    return f"{row}  {baseline[0]:14.1f}  {routed / predicted:14.2f}  {routed / baseline[0]:15.2f}"


def _medians(asked):
    """Milliseconds of each function, after two calls that compile."""
    times = [[] for _ in asked]
    for turn in range(ROUNDS + 2):
        for ask, taken in zip(asked, times, strict=True):
            start = time.perf_counter()
            ask()
            if turn >= 2:
                taken.append(1000 * (time.perf_counter() - start))
    return [statistics.median(taken) for taken in times]


if __name__ == "__main__":
    main()
