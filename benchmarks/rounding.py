"""What int8 loses, and what rounding by outputs and equalized channels save of it.

    KERAS_BACKEND=tensorflow python -m benchmarks.rounding hydranet_cifar100 [--images 3000]
    KERAS_BACKEND=tensorflow python -m benchmarks.rounding fsrcnn_x2

Of a mixture of classifiers, its routes: the share of CIFAR-100 test images for which exactly the same experts run, and
for which the heaviest expert is the same, as with float weights, when one kernel in front of the route is rounded to
int8, or all. Activations stay in float. Of a super-resolution network, its picture: PSNR over all the luma of Set14's
patches of a LiteRT file, its weights as they are, rounded, equalized, or both.
"""

import argparse
import contextlib

import keras
import numpy as np

from keras_moe import zoo
from keras_moe.datasets import cifar100
from keras_moe.export.litert.convert import convert
from keras_moe.export.litert.parity import compare
from keras_moe.export.litert.subgraphs import cut, whole
from keras_moe.export.quantization.cross_layer_equalization import equalized
from keras_moe.export.quantization.gptq import round_kernel, rounded
from keras_moe.export.quantization.restored_weights import weights_kept
from keras_moe.recipes import load_recipe
from keras_moe.recipes.publishing.litert_files import Trial

MIXTURES, NETWORKS = ("hydranet_cifar100", "single_gated_cifar100"), ("fsrcnn_x2", "fsrcnn_x4")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=(*MIXTURES, *NETWORKS))
    parser.add_argument("--images", type=int, default=3000)
    arguments = parser.parse_args()
    model = zoo.load(arguments.name)
    if arguments.name in MIXTURES:
        _routes(model, arguments.images)
    else:
        _picture(model, Trial(load_recipe(arguments.name).dataset, zoo.card(arguments.name)))


def _routes(model, images):
    (learn, _), (test, _) = cifar100()
    test, trunk = test[:images], cut(model).trunk.graph
    kernels = [call.layer for call in trunk.calls if isinstance(call.layer, keras.layers.Conv2D)]
    expected = model.route(test)
    print(f"{model.name}, {len(test)} test images\n{'rounded':44}{'same experts':>13}{'same main':>11}")
    for layer in kernels:
        _print(f"{layer.name}, nearest", _under(model, nearest([layer]), test), expected)
    _print("all, nearest", _under(model, nearest(kernels), test), expected)
    samples = [[image[None].astype("float32")] for image in learn[:300]]
    _print("all, least change of outputs", _under(model, rounded(trunk, samples), test), expected)


def _picture(model, trial):
    subgraph, samples = whole(model), [image[None].astype("float32") for image in trial.calibration[:300]]
    changes = {"as they are": (), "rounded": (rounded,), "equalized": (equalized,), "both": (equalized, rounded)}
    reference = trial.score(model.predict(trial.images, batch_size=16, verbose=0))
    print(
        f"{model.name}, {len(trial.images)} patches of Set14, Keras {reference:.2f} dB\n{'weights':14}dynamic     int8"
    )
    for label, contexts in changes.items():
        with contextlib.ExitStack() as stack:
            for change in contexts:
                stack.enter_context(change(subgraph.graph, [[sample] for sample in samples]))
            files = [_file(subgraph, quantize, samples) for quantize in ("dynamic", "int8")]
        values = [trial.score(_run(file, trial.images)) for file in files]
        print(f"{label:14}" + "  ".join(f"{value:6.2f} dB" for value in values), flush=True)


def _file(subgraph, quantize, samples):
    def run(images):
        return subgraph({"images": images})

    calibrate = [{"images": sample} for sample in samples]
    shapes = {"images": samples[0].shape}
    return convert(run, shapes, subgraph.graph, quantize, calibrate, clipped=False)


def _run(file, images):
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=file).get_signature_runner("serving_default")
    return np.concatenate([runner(images=image[None].astype("float32"))["prediction"] for image in images])


@contextlib.contextmanager
def nearest(layers):
    """Inside, the layers' kernels are rounded to the nearest step of their int8 grid."""
    with weights_kept(layers):
        for layer in layers:
            kernel, *rest = layer.get_weights()
            independent = np.eye(kernel.size // kernel.shape[-1])  # inputs that have nothing to do with each other
            layer.set_weights([round_kernel(kernel, independent), *rest])
        yield


def _under(model, change, images):
    with change:
        return model.route(images)


def _print(label, route, expected):
    figures = compare(route, route, expected, expected, scores=False)
    print(f"{label:44}{figures['routing_agreement']:13.2%}{figures['same_main_expert']:11.2%}", flush=True)


if __name__ == "__main__":
    main()
