"""Metrics and executed MACs of published weights, on the data that their card names.

    KERAS_BACKEND=jax python -m benchmarks.evaluate hydranet_cifar100 [--drop-below 0.3]

Prints the measured figures beside the card's.
"""

import argparse

import keras

from keras_moe import zoo
from keras_moe.recipes import load_recipe


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=zoo.list_models())
    parser.add_argument("--drop-below", type=float, help="another dynamic-k threshold than the published one")
    arguments = parser.parse_args()

    card, model = zoo.card(arguments.name), zoo.load(arguments.name)
    if arguments.drop_below is not None:
        model.drop_below = arguments.drop_below
    measured = load_recipe(arguments.name).measure(model)

    published = {m.name.removesuffix(" of these weights"): m for m in card.metrics if "of these weights" in m.name}
    print(f"{arguments.name} on {card.data.name}, {card.metrics[0].split} split, {keras.backend.backend()} backend")
    for name, metric in published.items():
        print(f"{name:13}  measured {metric.text(measured[name])}   card {metric.text()}")
    print(f"MACs executed  measured {measured['macs_executed'] / 1e6:.3f} M   card {card.macs_executed / 1e6:.3f} M")
    for expert, share in enumerate(measured.get("usage", [])):
        print(f"expert {expert}: runs for {share:.1%} of the images")


if __name__ == "__main__":
    main()
