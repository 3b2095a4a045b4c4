"""From trained seeds to a folder of the zoo: weights, golden tensors, log, card."""

import argparse
import collections.abc
import dataclasses
import hashlib
import json
import pathlib

import keras
import numpy as np

from keras_moe.weights import load_weights, save_weights, write_bytes, write_tensors
from keras_moe.zoo.model_card import Card, File, Metric, write_card


@dataclasses.dataclass(frozen=True)
class Published:
    """How a model of the zoo is made.

    Args:
        name: of the model and of its folder.
        card: dict, the fields of ``Card`` that nothing measures.
        build: ``() -> model``, fresh; a classifier ends in logits.
        train: ``(model, seed, folder, epochs) -> history``, resumable; ``history`` as ``run_stages`` returns it.
        measure: ``model -> dict``: the ``metrics`` by name, ``"macs_executed"``, and whatever else is worth a record.
        epochs: int, the default.
        seeds: ints; the weights of the first are published.
        golden: ``() -> images``, float32 ``(n, h, w, c)``, whose outputs are pinned.
        metrics: dict, name -> unit, of the measured numbers that go into the card, the model's own first.
    """

    name: str
    card: dict
    build: collections.abc.Callable
    train: collections.abc.Callable
    measure: collections.abc.Callable
    epochs: int
    seeds: tuple[int, ...]
    golden: collections.abc.Callable
    metrics: dict


def main(model, folder, argv=None):
    """A recipe's command line: trains every seed (or goes on where it stopped), measures, publishes if told to."""
    parser = argparse.ArgumentParser(description=f"Trains {model.name}.")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(model.seeds))
    parser.add_argument("--epochs", type=int, default=model.epochs)
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs", model.name), help="checkpoints")
    parser.add_argument("--publish", action="store_true", help="write weights, log and card into the zoo's folder")
    arguments = parser.parse_args(argv)

    results = [_train_seed(model, seed, arguments) for seed in arguments.seeds]
    for result in results:
        print(f"{model.name} seed {result['seed']}: {_summary(model, result)}")
    if arguments.publish:
        publish(model, pathlib.Path(folder), results, arguments.runs)


def measure_classifier(network, images, labels, batch_size=256):
    """Accuracy, mean MACs executed and the share of images each expert ran for, in one pass.

    ``accuracy`` is the mean over images, ``accuracy_of_classes`` the mean over classes.

    Args:
        network: an ``MoEModel`` with a head.
        images, labels: ``(n, h, w, c)`` and int ``(n,)``.

    Returns:
        dict of floats and, for a routed network, ``"usage"``: list of floats.
    """
    predictions, route = network.predict_routed(images, batch_size=batch_size)
    right = predictions.argmax(-1) == labels
    of_classes = [right[labels == c].mean() for c in np.unique(labels)]
    found = {"accuracy": float(right.mean()), "accuracy_of_classes": float(np.mean(of_classes))}
    if route is None:
        return {**found, "macs_executed": float(network.macs_total)}
    return {**found, "macs_executed": network.mean_macs(route=route), "usage": (route != 0).mean(0).tolist()}


def publish(model, folder, results, runs):
    """Writes the first seed's weights (float16), golden tensors, metrics, log and card into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    network = model.build()
    load_weights(network, _weights_of(runs, results[0]["seed"]))
    save_weights(network, folder / "weights.safetensors", dtype="float16")
    load_weights(network, folder / "weights.safetensors")
    final = model.measure(network)

    images = model.golden()
    predictions, route = network.predict_routed(images)
    tensors = {"images": images, "outputs": predictions} | ({} if route is None else {"route": route})
    write_tensors(folder / "golden.safetensors", tensors)
    write_json(folder / "log.json", {str(r["seed"]): r["history"] for r in results})
    measured = [{k: v for k, v in r.items() if k != "history"} for r in results]
    write_json(folder / "metrics.json", {"seeds": measured, "published": final})
    write_card(_card(model, network, folder, results, final), folder / "card.toml")
    print(f"published in {folder}: {_summary(model, final)}")


def write_json(path, value):
    """Writes JSON, atomically, floats to 6 decimals."""
    rounded = json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 6))
    write_bytes(path, (json.dumps(rounded, indent=1) + "\n").encode())


def _train_seed(model, seed, arguments):
    folder = arguments.runs / f"seed{seed}"
    done = folder / "result.json"
    if done.exists():
        return json.loads(done.read_text())
    keras.utils.set_random_seed(seed)
    network = model.build()
    history = model.train(network, seed, folder, arguments.epochs)
    save_weights(network, _weights_of(arguments.runs, seed))
    result = {"seed": seed, "epochs": arguments.epochs, **model.measure(network), "history": history}
    write_json(done, result)
    return result


def _weights_of(runs, seed):
    return runs / f"seed{seed}" / "weights.safetensors"


def _card(model, network, folder, results, final):
    seeds, metrics = tuple(r["seed"] for r in results), []
    for name, unit in model.metrics.items():
        values, own = tuple(round(r[name], 6) for r in results), round(final[name], 6)
        metrics += [
            Metric(name, round(float(np.mean(values)), 6), "test", seeds, values, "mean over seeds", unit),
            Metric(f"{name} of these weights", own, "test", seeds[:1], (own,), "float16", unit),
        ]
    return Card(
        name=model.name,
        params=network.count_params(),
        macs_total=network.macs_total,
        macs_executed=float(final["macs_executed"]),
        metrics=tuple(metrics),
        files=tuple(pinned(folder / name) for name in ("weights.safetensors", "golden.safetensors")),
        recipe="recipe.py",
        **model.card,
    )


def pinned(path):
    """The ``File`` of a path."""
    data = path.read_bytes()
    return File(path.name, len(data), hashlib.sha256(data).hexdigest())


def _summary(model, result):
    values = [f"{name} {result[name]:.4f} {unit}".rstrip() for name, unit in model.metrics.items()]
    return f"{', '.join(values)}, MACs executed {result['macs_executed'] / 1e6:.2f} M"
