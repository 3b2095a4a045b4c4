"""What published int8 files take of a microcontroller and of an NPU: a sentence in the note of their metrics.

    python -m keras_moe.recipes.publishing.edge_figures [NAME …]

The arena is that of the largest graph in tflite-micro, on a host of 64 bits. Cycles are Vela's estimates for an image,
averaged over the routes of test images; of a routed file, in which Vela counts every branch, of all.
"""

import argparse
import dataclasses
import json
import pathlib
import re

import numpy as np

from keras_moe import zoo
from keras_moe.export import LiteRTModel
from keras_moe.export.targets import tflm, vela
from keras_moe.recipes import load_recipe
from keras_moe.types import Array
from keras_moe.zoo.model_card import Card, Metric
from keras_moe.zoo.store import published_folder
from keras_moe.zoo.writing import write_card

NPU = "ethos-u55-128"
FILES = ("routed_int8.tflite", "parts_int8.json")
_START = "; on a microcontroller: "
_KIB = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes arena and cycles of published int8 files into their cards.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="by default all")
    for name in parser.parse_args().names or zoo.list_models():
        card = zoo.card(name)
        metrics = [_with_figures(card, metric) for metric in card.metrics]
        write_card(dataclasses.replace(card, metrics=tuple(metrics)), published_folder() / name)


def note(path: pathlib.Path, route: Array | None) -> str:
    """What is said of an int8 file or manifest, where ``route`` holds the routes ``(n, experts)`` of test images."""
    graphs = graphs_of(path)
    try:
        memory = f"arena {max(tflm.TFLMGraph(data).arena_bytes() for data in graphs.values()) / _KIB:,.0f} KiB"
    except ValueError as error:
        missing = re.findall(r"opcode '(\w+)'", str(error)) or ["an operation"]
        memory = f"not in tflite-micro, which lacks {missing[0]}"
    return f"{_START}{memory}; {NPU}: {_cycles(graphs, route)} by Vela"


def graphs_of(path: pathlib.Path) -> dict[str, bytes]:
    """Name -> bytes of the LiteRT graphs of a file or manifest."""
    if path.suffix != ".json":
        return {"model": path.read_bytes()}
    return {part["name"]: (path.parent / part["file"]).read_bytes() for part in json.loads(path.read_text())["parts"]}


def shares(graphs: dict[str, bytes], route: Array | None) -> dict[str, float]:
    """How often each graph runs for an image: an expert's share of the images, 1 for the others."""
    usage = {} if route is None else {f"expert_{k}": float(share) for k, share in enumerate((route != 0).mean(axis=0))}
    return {name: usage.get(name, 1.0) for name in graphs}


def test_images(card: Card, count: int) -> Array:
    """Images of the test split, the same at every call."""
    images = load_recipe(card.name).dataset.load_test(card.input.shape).images
    return images[np.random.default_rng(0).permutation(len(images))[:count]]


def _cycles(graphs: dict[str, bytes], route: Array | None) -> str:
    try:
        spent = {name: vela.compiled(data, NPU).cycles for name, data in graphs.items()}
    except ValueError:
        return "refused"
    total = sum(spent[name] * share for name, share in shares(graphs, route).items())
    every = " of all branches" if route is not None and "model" in graphs else ""
    return f"{total:,.0f} cycles{every}"


def _with_figures(card: Card, metric: Metric) -> Metric:
    file = next((file for file in FILES if metric.name.endswith(file)), None)
    if file is None:
        return metric
    path = published_folder() / card.name / file
    _, route = LiteRTModel(path).predict_routed(test_images(card, 300))
    print(f"{card.name}: {file}{(said := note(path, route))}", flush=True)
    return dataclasses.replace(metric, note=metric.note.partition(_START)[0] + said)


if __name__ == "__main__":
    main()
