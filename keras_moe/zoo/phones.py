"""LiteRT files of a published classifier, measured on its test split and pinned in its card.

    KERAS_BACKEND=tensorflow python -m keras_moe.zoo.phones hydranet_cifar100

int8 is calibrated with the first 1,000 training images. Run it after the model was published anew.
"""

import argparse
import dataclasses

import numpy as np

from keras_moe import zoo
from keras_moe.datasets import cifar100
from keras_moe.export import LiteRTModel, litert
from keras_moe.zoo.model_card import Metric, write_card
from keras_moe.zoo.publish import pinned
from keras_moe.zoo.store import published_folder

# float16 is how the weights are published: as exact as float32, in half the space.
FILES = {
    "routed_float16.tflite": {"quantize": "float16"},
    "routed_dynamic.tflite": {"quantize": "dynamic"},
    "routed_int8.tflite": {"quantize": "int8"},
    "parts_int8.json": {"quantize": "int8", "form": "parts"},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=[name for name in zoo.list_models(task="classification") if "cifar100" in name])
    name = parser.parse_args().name
    card, model, folder = zoo.card(name), zoo.load(name), published_folder() / name
    (learn, _), (images, labels) = cifar100()
    files, metrics = [f for f in card.files if f.name.endswith(".safetensors")], _own(card)
    for file, options in FILES.items():
        report = litert(model, folder / file, representative=learn[:1000], images=images[:1000], card=card, **options)
        (folder / file).with_suffix(".report.json").unlink()
        predictions, route = LiteRTModel(folder / file).predict_routed(images)
        accuracy = round(float(np.mean(predictions.argmax(-1) == labels)), 6)
        seeds = card.metrics[0].seeds[:1]
        metrics.append(Metric(f"accuracy of {file}", accuracy, "test", seeds, (accuracy,), _note(report, route)))
        files += [pinned(folder / made) for made in report["files"]]
        print(f"{file}: accuracy {accuracy:.2%}; {metrics[-1].note}")
    write_card(dataclasses.replace(card, files=tuple(files), metrics=tuple(metrics)), folder / "card.toml")


def _own(card):
    return [metric for metric in card.metrics if metric.name.partition("accuracy of ")[2] in ("", "these weights")]


def _note(report, route):
    parity, note = report["parity"], f"{report['bytes']:,} bytes; on 1,000 test images"
    note += f" the same class as Keras for {parity['prediction_agreement']:.1%}"
    if route is None:
        return note
    kept = ", gate and trunk in float" if report["gate"] == "float" else ""
    return f"{note}, the same experts for {parity['routing_agreement']:.1%}{kept}"


if __name__ == "__main__":
    main()
