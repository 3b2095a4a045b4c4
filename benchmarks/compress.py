"""What pruning, clustering and quantization-aware training buy on a published CIFAR-100 model.

    KERAS_BACKEND=tensorflow python -m benchmarks.compress resnet20_cifar100 [--variants published qat] [--epochs 1]

Per variant, of the float model and of int8 files: accuracy on the 10,000 test images, bytes, bytes after gzip. Post-
training int8 is TFLite's, calibrated with 500 training images (an expert: with what the gate sends it of them); int8
files are run image by image. ``finetuned`` is the control: the same steps on the same batches, without a constraint.

Of a HydraNet the branches are compressed; sizes are theirs, and the rest of the network stays in float.
"""

import argparse
import gzip

import keras
import numpy as np
import tensorflow as tf

from keras_moe import zoo
from keras_moe.datasets import cifar100
from keras_moe.export import compress
from keras_moe.training import Recipe, classification_stage
from keras_moe.training.stages import freeze_all_but

VARIANTS = {
    "published": None,
    "finetuned": None,
    "pruned 0.5": {"method": "prune", "sparsity": 0.5},
    "pruned 0.75": {"method": "prune", "sparsity": 0.75},
    "clustered 16": {"method": "cluster", "clusters": 16},
    "qat": {"method": "qat"},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=("resnet20_cifar100", "hydranet_cifar100"))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--images", type=int, default=50000, help="training images")
    arguments = parser.parse_args()

    (images, labels), test = cifar100()
    train = images[: arguments.images], labels[: arguments.images]
    print(f"{arguments.name}, {arguments.epochs} epochs of {len(train[0])} images, Adam {arguments.learning_rate:g}")
    print(f"{'':14}{'float32':>10}{'bytes':>10}{'gzip':>10}{'int8':>10}{'bytes':>10}{'gzip':>10}")
    for variant in arguments.variants:
        model = zoo.load(arguments.name)
        files = _fine_tune(model, variant, train, arguments)
        floats = {network.name: _convert(network) for network in _networks(model)}
        int8 = files or _quantized(model, images[:500].astype("float32"))
        cells = [_accuracy(model.predict(test[0], batch_size=256, verbose=0), test[1]), *_sizes(floats)]
        cells += [_accuracy(_predict(model, int8, test[0].astype("float32")), test[1]), *_sizes(int8)]
        print(
            f"{variant:14}" + "".join(f"{c:>10.4f}" if isinstance(c, float) else f"{c:>10,}" for c in cells), flush=True
        )


def _fine_tune(model, variant, train, arguments):
    """Fine-tunes the model in place; returns the int8 files that came of it, if any."""
    if VARIANTS[variant]:
        settings = {"epochs": arguments.epochs, "learning_rate": arguments.learning_rate, **VARIANTS[variant]}
        return compress(model, train, **settings, verbose=0).files
    if variant == "finetuned":
        recipe = Recipe(arguments.epochs, learning_rate=arguments.learning_rate, warmup=0, weight_decay=0)
        data = classification_stage(model, recipe, train, train).data
        freeze_all_but(model, ("branches",) if model.bank else tuple(model.parts))
        rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, arguments.epochs * len(data))
        batches = ((x, targets["prediction"]) for _ in range(arguments.epochs) for x, targets in _epoch(data))
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", jit_compile=False)
        for x, y in batches:
            model.train_on_batch(x, y)
    return {}


def _epoch(data):
    yield from (data[i] for i in range(len(data)))
    data.on_epoch_end()


def _networks(model):
    return model.bank.experts if model.bank else [model]


def _inputs(model, images):
    """What each network reads of the images, and, for a mixture, their route."""
    if not model.bank:
        return [images], None
    features, route = keras.Model(model.inputs, model.bank.input).predict(images, batch_size=256, verbose=0)
    return [features[route[:, k] != 0] for k in range(route.shape[1])], route


def _quantized(model, images):
    inputs, _ = _inputs(model, images)
    return {n.name: _convert(n, x) for n, x in zip(_networks(model), inputs, strict=True)}


def _convert(network, calibration=None):
    """TFLite file of a network: float, or int8 where there are arrays to calibrate it with."""
    call = tf.function(lambda x: network(x, training=False), autograph=False)
    concrete = call.get_concrete_function(tf.TensorSpec((1, *network.input_shape[1:]), "float32"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x[None]] for x in calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def _predict(model, files, images):
    inputs, route = _inputs(model, images)
    outputs = [_run(files[n.name], x) for n, x in zip(_networks(model), inputs, strict=True)]
    if route is None:
        return outputs[0]
    combined = np.zeros((len(images), *outputs[0].shape[1:]), "float32")
    for k, output in enumerate(outputs):
        rows = route[:, k] != 0
        combined[rows] += route[rows, k, None] * output
    return model.get_layer("combiner").predict(combined, batch_size=256, verbose=0)


def _run(content, x):
    """Outputs of an int8 file, one image after another."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=2)
    interpreter.allocate_tensors()
    entry, returned = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = entry["quantization"]
    outputs = []
    for row in np.clip(np.round(x / scale + zero), -128, 127).astype("int8"):
        interpreter.set_tensor(entry["index"], row[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(returned["index"])[0])
    scale, zero = returned["quantization"]
    return (np.array(outputs, "float32") - zero) * scale


def _accuracy(predictions, labels):
    return float(np.mean(predictions.argmax(1) == labels))


def _sizes(files):
    return sum(map(len, files.values())), sum(len(gzip.compress(content, 9)) for content in files.values())


if __name__ == "__main__":
    main()
