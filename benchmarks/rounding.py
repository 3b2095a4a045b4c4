"""Where int8 loses routes: weights rounded to the nearest step, or so that outputs change least.

    KERAS_BACKEND=tensorflow python -m benchmarks.rounding hydranet_cifar100 [--images 3000]

Share of CIFAR-100 test images for which exactly the same experts run, and for which the heaviest expert is the same, as
with float weights, when one kernel in front of the route is rounded to int8, or all. Activations stay in float.
"""

import argparse
import contextlib

import keras
import numpy as np

from keras_moe import zoo
from keras_moe.datasets import cifar100
from keras_moe.export.parity import compare
from keras_moe.export.pieces import cut
from keras_moe.export.rounding import round_kernel, rounded


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=("hydranet_cifar100", "single_gated_cifar100"))
    parser.add_argument("--images", type=int, default=3000)
    arguments = parser.parse_args()
    (learn, _), (test, _) = cifar100()
    model, test = zoo.load(arguments.name), test[: arguments.images]
    trunk = cut(model).trunk.model
    kernels = [layer for layer in trunk.layers if isinstance(layer, keras.layers.Conv2D)]
    expected = model.route(test)
    print(f"{arguments.name}, {len(test)} test images\n{'rounded':44}{'same experts':>13}{'same main':>11}")
    for layer in kernels:
        _print(f"{layer.name}, nearest", _under(model, nearest([layer]), test), expected)
    _print("all, nearest", _under(model, nearest(kernels), test), expected)
    samples = [[image[None].astype("float32")] for image in learn[:300]]
    _print("all, least change of outputs", _under(model, rounded(trunk, samples), test), expected)


@contextlib.contextmanager
def nearest(layers):
    """Inside, the layers' kernels are rounded to the nearest step of their int8 grid."""
    before = [layer.get_weights() for layer in layers]
    for layer, (kernel, *rest) in zip(layers, before, strict=True):
        independent = np.eye(kernel.size // kernel.shape[-1])  # inputs that have nothing to do with each other
        layer.set_weights([round_kernel(kernel, independent), *rest])
    yield
    for layer, weights in zip(layers, before, strict=True):
        layer.set_weights(weights)


def _under(model, change, images):
    with change:
        return model.route(images)


def _print(label, route, expected):
    found = compare(route, route, expected, expected, scores=False)
    print(f"{label:44}{found['routing_agreement']:13.2%}{found['same_main_expert']:11.2%}", flush=True)


if __name__ == "__main__":
    main()
