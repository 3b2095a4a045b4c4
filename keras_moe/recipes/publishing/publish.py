"""From trained seeds to a folder of the zoo: weights, golden tensors, log, card."""

import argparse
import hashlib
import json
import pathlib
import typing

import keras
import numpy as np

from keras_moe.files import write_bytes
from keras_moe.models import MoEModel
from keras_moe.recipes.publishing.recipe import ModelRecipe
from keras_moe.weights import load_weights, save_weights, write_tensors
from keras_moe.zoo.model_card import Card, File, Input, Metric, write_card
from keras_moe.zoo.store import published_folder

Result = dict[str, typing.Any]


def main(recipe: ModelRecipe, argv: list[str], prog: str) -> None:
    """A recipe's command line: trains every seed or resumes its training, measures, and publishes if asked to.

    Args:
        recipe: a ``ModelRecipe``.
        argv: list of str, the options.
        prog: str, the command before the options, as the user typed it.
    """
    parser = argparse.ArgumentParser(prog=prog, description=f"Trains {recipe.name}.")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(recipe.seeds))
    parser.add_argument("--epochs", type=int, default=recipe.epochs)
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs", recipe.name), help="checkpoints")
    parser.add_argument("--publish", action="store_true", help="write weights, log and card into the zoo's folder")
    arguments = parser.parse_args(argv)

    results = [_train_seed(recipe, seed, arguments) for seed in arguments.seeds]
    for result in results:
        print(f"{recipe.name} seed {result['seed']}: {_summary(recipe, result)}")
    if arguments.publish:
        publish(recipe, published_folder() / recipe.name, results, arguments.runs)


def publish(recipe: ModelRecipe, folder: pathlib.Path, results: list[Result], runs: pathlib.Path) -> None:
    """Writes the first seed's weights (float16), golden tensors, metrics, log and card into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    network = recipe.build()
    load_weights(network, _weights_of(runs, results[0]["seed"]))
    save_weights(network, folder / "weights.safetensors", dtype="float16")
    load_weights(network, folder / "weights.safetensors")
    final = recipe.measure(network)

    images = recipe.golden_images()
    predictions, route = network.predict_routed(images)
    tensors = {"images": images, "outputs": predictions} | ({} if route is None else {"route": route})
    write_tensors(folder / "golden.safetensors", tensors)
    write_json(folder / "log.json", {str(r["seed"]): r["history"] for r in results})
    measured = [{k: v for k, v in r.items() if k != "history"} for r in results]
    write_json(folder / "metrics.json", {"seeds": measured, "published": final})
    write_card(_card(recipe, network, folder, results, final), folder / "card.toml")
    print(f"published in {folder}: {_summary(recipe, final)}")


def write_json(path: pathlib.Path, value: object) -> None:
    """Writes JSON, atomically, floats to 6 decimals."""
    rounded = json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 6))
    write_bytes(path, (json.dumps(rounded, indent=1) + "\n").encode())


def _train_seed(recipe: ModelRecipe, seed: int, arguments: argparse.Namespace) -> Result:
    folder = arguments.runs / f"seed{seed}"
    done = folder / "result.json"
    if done.exists():
        result: Result = json.loads(done.read_text())
        return result
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    network = recipe.build()
    history = recipe.train(network, seed, folder, arguments.epochs)
    save_weights(network, _weights_of(arguments.runs, seed))
    result = {"seed": seed, "epochs": arguments.epochs, **recipe.measure(network), "history": history}
    write_json(done, result)
    return result


def _weights_of(runs: pathlib.Path, seed: int) -> pathlib.Path:
    return runs / f"seed{seed}" / "weights.safetensors"


def _card(recipe: ModelRecipe, network: MoEModel, folder: pathlib.Path, results: list[Result], final: Result) -> Card:
    seeds, metrics, dataset = tuple(r["seed"] for r in results), list[Metric](), recipe.dataset
    for name in dataset.card_metrics:
        values, own = tuple(round(r[name], 6) for r in results), round(final[name], 6)
        metrics += [
            Metric(name, round(float(np.mean(values)), 6), "test", seeds, values, "mean over seeds", dataset.unit),
            Metric(f"{name} of these weights", own, "test", seeds[:1], (own,), "float16", dataset.unit),
        ]
    return Card(
        name=recipe.name,
        system=recipe.system,
        task=dataset.task,
        summary=recipe.summary,
        paper=recipe.paper,
        paper_url=recipe.paper_url,
        license=dataset.license,
        model=type(network).__name__,
        params=network.count_params(),
        macs_total=network.macs_total,
        macs_executed=float(final["macs_executed"]),
        recipe=f"keras_moe.recipes.{recipe.name}",
        recipe_note=recipe.recipe_note,
        data=dataset.data,
        input=Input(tuple(recipe.config["input_shape"]), "[0, 255]", dataset.channels),
        config=dict(recipe.config),
        metrics=tuple(metrics),
        files=tuple(pinned(folder / name) for name in ("weights.safetensors", "golden.safetensors")),
        classes=dataset.classes,
        baseline=recipe.baseline,
    )


def pinned(path: pathlib.Path) -> File:
    """The ``File`` of a path."""
    data = path.read_bytes()
    return File(path.name, len(data), hashlib.sha256(data).hexdigest())


def _summary(recipe: ModelRecipe, result: Result) -> str:
    dataset = recipe.dataset
    values = [f"{name} {result[name]:.4f} {dataset.unit}".rstrip() for name in dataset.card_metrics]
    return f"{', '.join(values)}, MACs executed {result['macs_executed'] / 1e6:.2f} M"
