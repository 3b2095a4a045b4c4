"""From trained seeds to a folder of the zoo: weights, golden tensors, log, card."""

import argparse
import json
import math
import pathlib
import typing

import keras
import numpy as np

from keras_moe.datasets import Dataset
from keras_moe.files import write_json
from keras_moe.models import MoEModel
from keras_moe.recipes.publishing.recipe import ModelRecipe
from keras_moe.weights import load_weights, save_weights, serialized
from keras_moe.zoo.model_card import Input, Metric
from keras_moe.zoo.saving import save
from keras_moe.zoo.store import published_folder

Result = dict[str, typing.Any]

GOLDEN_HEIGHT = 64  # rows at most of the maps that are pinned
_TEXTS = ("name", "summary", "paper", "paper_url", "recipe_note", "baseline")  # of a recipe and a card


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
    """Saves the first seed's weights (float16), golden tensors, metrics, log and card in ``folder``."""
    network, dataset = recipe.build(), recipe.dataset
    load_weights(network, _weights_of(runs, results[0]["seed"]))
    load_weights(network, serialized(network, "float16"))  # what is published is measured
    final = recipe.measure(network)

    folder.parent.mkdir(parents=True, exist_ok=True)
    measured = [{k: v for k, v in r.items() if k != "history"} for r in results]
    save(
        network,
        folder,
        labels=dataset.classes or None,
        overwrite=True,
        dtype="float16",
        golden=golden_tensors(network, recipe.golden_images()),
        records={
            "log": {str(r["seed"]): r["history"] for r in results},
            "metrics": {"seeds": measured, "published": final},
        },
        config=dict(recipe.config),
        input=Input(tuple(recipe.config["input_shape"]), "[0, 255]", dataset.channels),
        macs_executed=float(final["macs_executed"]),
        metrics=_metrics(dataset, results, final),
        recipe=f"keras_moe.recipes.{recipe.name}",
        data=dataset.data,
        license=dataset.license,
        **{field: getattr(recipe, field) for field in _TEXTS},
    )
    print(f"published in {folder}: {_summary(recipe, final)}")


def golden_tensors(network: MoEModel, images: np.ndarray) -> dict[str, np.ndarray]:
    """Images, and the outputs and the route that are pinned for them, small enough to lie beside the weights.

    Whole numbers become uint8. Of large maps every few pixels are kept: each depends on all layers.
    """
    predictions, route = network.predict_routed(images)
    if predictions.ndim == 4:
        step = math.ceil(predictions.shape[1] / GOLDEN_HEIGHT)
        predictions = predictions[:, ::step, ::step]
    pixels = images.astype("uint8")
    tensors = {"images": pixels if np.array_equal(pixels, images) else images, "outputs": predictions}
    return tensors if route is None else {**tensors, "route": route}


def _train_seed(recipe: ModelRecipe, seed: int, arguments: argparse.Namespace) -> Result:
    folder = arguments.runs / f"seed{seed}"
    path = folder / "result.json"
    if path.exists():
        result: Result = json.loads(path.read_text())
        return result
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    network = recipe.build()
    history = recipe.train(network, seed, folder, arguments.epochs)
    save_weights(network, _weights_of(arguments.runs, seed))
    result = {"seed": seed, "epochs": arguments.epochs, **recipe.measure(network), "history": history}
    write_json(path, result)
    return result


def _weights_of(runs: pathlib.Path, seed: int) -> pathlib.Path:
    return runs / f"seed{seed}" / "weights.safetensors"


def _metrics(dataset: Dataset, results: list[Result], final: Result) -> tuple[Metric, ...]:
    """The card's metrics: of each of the data set's, the mean over seeds and that of the published weights."""
    seeds, metrics = tuple(r["seed"] for r in results), list[Metric]()
    for name in dataset.card_metrics:
        values, published = tuple(round(r[name], 6) for r in results), round(final[name], 6)
        metrics += [
            Metric(name, round(float(np.mean(values)), 6), "test", seeds, values, "mean over seeds", dataset.unit),
            Metric(f"{name} of these weights", published, "test", seeds[:1], (published,), "float16", dataset.unit),
        ]
    return tuple(metrics)


def _summary(recipe: ModelRecipe, result: Result) -> str:
    dataset = recipe.dataset
    values = [f"{name} {result[name]:.4f} {dataset.unit}".rstrip() for name in dataset.card_metrics]
    return f"{', '.join(values)}, MACs executed {result['macs_executed'] / 1e6:.2f} M"
