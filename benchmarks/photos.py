"""The dense frontier on photographs: EfficientNet-Lite0 thinned in depth and in pixels, trained as the mixtures were.

    KERAS_BACKEND=tensorflow python -m benchmarks.photos [--points 128:1 128 …] [--seeds 0 1] [--epochs 12 6]
        [--publish]
    KERAS_BACKEND=tensorflow python -m benchmarks.photos --routes routes.png

A point is a size in pixels and, after a colon, the most blocks of a stage behind the stem, or of each of the four, as
in ``160:3321``. Every point grows from ``efficientnet_lite0_photos`` and learns in two rounds
(``keras_moe.recipes.shared.photos``), as a thinned network and the mixtures that grow from it do; what was trained
before is not trained again. Accuracy on the test split, the mean over photographs and over classes, and milliseconds of
int8 LiteRT on one thread, the networks taking turns: the mean over photographs, since a mixture that exits early takes
much longer for some than for others, and of each the median of three rounds. The picture has the curves of
``benchmarks.photo_curves``.
``--publish`` writes the table and a picture into the folder of ``hydranet_photos``. ``--routes`` draws which branches
of ``hydranet_photos`` serve which domain.
"""

import argparse
import dataclasses
import io
import itertools
import json
import pathlib
import tempfile
import time

import numpy as np

from benchmarks.photo_curves import curves
from benchmarks.photo_curves import table as curve_table
from keras_moe import zoo
from keras_moe.datasets import PHOTOS_DOMAINS, photos, photos_classes
from keras_moe.export import LiteRTModel, litert
from keras_moe.files import write_bytes, write_json
from keras_moe.images import resized
from keras_moe.models import Classifier
from keras_moe.recipes import load_recipe
from keras_moe.recipes.shared.photo_features import dense
from keras_moe.recipes.shared.photos import (
    CONFIG,
    MIXTURE,
    THINNED,
    measure_on_photos,
    published_dense,
    second_round,
    with_seed,
)
from keras_moe.zoo.store import published_folder

POINTS = ("160", "160:1", "128", "128:1", "96", "96:1")
EPOCHS = (THINNED.epochs, MIXTURE.epochs)
RUNS = pathlib.Path("runs", "photos_frontier")
UNPUBLISHED = ("efficientnet_lite0_thin_photos", "single_gated_photos")
TIMED, TURN, ROUNDS = 200, 20, 3  # photographs, and in one go: most of them find the network's weights in the cache
HEAD = """# Photographs: mixtures and the dense frontier

Written by `benchmarks/photos.py`: 6,110 test photographs of 203 classes; of several seeds the mean, lowest and highest.
A dense point is a size in pixels and the most blocks of a stage behind the stem, trained as the mixtures were, from the
same labels and teacher. int8: milliseconds of LiteRT on one thread, the mean of 200 photographs, in one run.

"""
CURVES = """## As the knob of a mixture turns

The lines of the picture (`benchmarks/photo_curves.py`). *As accurate as the dense network* is the cheapest point that
reaches `efficientnet_lite0_photos`, and *the best* the most accurate one: both were found on the test photographs.

"""


@dataclasses.dataclass(frozen=True)
class Network:
    """What is compared: figures of each seed, and a LiteRT file; none of a mixture whose weights are not here."""

    name: str
    seeds: list[dict]  # accuracy, accuracy_of_classes, macs_executed
    file: pathlib.Path | None

    def mean(self, key):
        return float(np.mean([seed[key] for seed in self.seeds]))

    def row(self, whole, milliseconds):
        accuracies = [seed["accuracy"] for seed in self.seeds]
        span = f" ({min(accuracies):.2%} to {max(accuracies):.2%})" if len(accuracies) > 1 else ""
        macs, took = self.mean("macs_executed"), "–" if np.isnan(milliseconds) else f"{milliseconds:.2f}"
        return (
            f"| {self.name} | {len(self.seeds)} | {self.mean('accuracy'):.2%}{span} | "
            f"{self.mean('accuracy_of_classes'):.2%} | {macs / 1e6:.1f} M | {macs / whole:.3f} | {took} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", nargs="*", default=POINTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, nargs=2, default=EPOCHS, help="of the two rounds of a point")
    parser.add_argument("--publish", action="store_true", help="write report.md and frontier.png of hydranet_photos")
    parser.add_argument("--routes", type=pathlib.Path, help="a PNG: domains against branches of hydranet_photos")
    arguments = parser.parse_args()
    if arguments.routes:
        return _draw_routes(arguments.routes)
    trained = {
        point: [_trained(point, seed, arguments.epochs) for seed in arguments.seeds] for point in arguments.points
    }
    with tempfile.TemporaryDirectory() as folder:
        networks = list(_networks(trained, pathlib.Path(folder)))
        milliseconds = _milliseconds([network.file for network in networks])
    whole = dense(160).macs_total
    head = "| network | seeds | accuracy | of classes | MACs executed | share of Lite0 at 160 px | int8 ms |"
    rows = [network.row(whole, ms) for network, ms in zip(networks, milliseconds, strict=True)]
    table = "\n".join([head, "|---|---|---|---|---|---|---|", *rows]) + "\n"
    print(table)
    if arguments.publish:
        folder, found = published_folder() / "hydranet_photos", curves()
        picture = "![accuracy against cost](frontier.png)"
        text = f"{HEAD}{table}\n{picture}\n\n{CURVES}{curve_table(found)}"
        write_bytes(folder / "report.md", text.encode())
        write_bytes(folder / "frontier.png", _picture(networks, milliseconds, found))


def _parsed(point):
    """The size of a point, and the most blocks of all stages; None: all."""
    size, _, digits = point.partition(":")
    return int(size), (1, 2, 2, *map(int, digits.ljust(4, digits[0]))) if digits else None


def _networks(trained, folder):
    for point, seeds in trained.items():
        size, most = _parsed(point)
        shape = (size, size, 3)
        model = Classifier(**{**CONFIG, "input_shape": shape, "blocks": most})
        epochs = " + ".join(map(str, seeds[0]["epochs"]))
        yield Network(
            f"dense {point}, {epochs} epochs", seeds, _exported(model, folder / f"{point.replace(':', '_')}.tflite")
        )
    for name in UNPUBLISHED:
        if seeds := _tried(name):
            model = load_recipe(name).build()
            file = None if model.bank else _exported(model, folder / f"{name}.tflite")
            yield Network(f"{name}, not published", seeds, file)
    for name in zoo.list_models("*_photos"):
        seeds = json.loads((published_folder() / name / "metrics.json").read_text())["seeds"]
        file = published_folder() / name / "routed_int8.tflite"
        if not file.exists():
            calibration = load_recipe(name).dataset.load_calibration(zoo.card(name).input.shape)
            file = _exported(zoo.load(name), folder / f"{name}.tflite", calibration)
        yield Network(name, seeds, file)


def _exported(model, path, images=None):
    """An int8 file. Without ``images`` of a dense network whose weights do not matter for the time that it takes."""
    if images is None:
        images = np.random.default_rng(0).uniform(0, 255, (8, *model.input_shape[1:])).astype("float32")
    options = {"trunk_precision": "int8" if model.bank else None, "check_parity": False}
    litert(model, path, quantize="int8", representative_dataset=images, images=images, **options)
    return path


def _milliseconds(paths):
    """Of each file, the files taking turns; NaN without a file."""
    models = {i: LiteRTModel(path) for i, path in enumerate(paths) if path}
    took = np.full((len(paths), ROUNDS, TIMED), np.nan)
    pictures = photos("test")[0]
    chosen = [pictures[i] for i in np.random.default_rng(0).permutation(len(pictures))[:TIMED]]
    images = {i: resized(chosen, model.description["input_shape"][1]) for i, model in models.items()}
    for r, turn in itertools.product(range(ROUNDS), range(0, TIMED, TURN)):
        for i, model in models.items():
            for j in range(turn, turn + TURN):
                start = time.perf_counter()
                model.predict(images[i][j : j + 1])
                took[i, r, j] = 1000 * (time.perf_counter() - start)
    return np.median(took, axis=1).mean(axis=1).tolist()


def _picture(networks, milliseconds, found):
    """Accuracy against MACs, and against the time of the int8 file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    costs = [[network.mean("macs_executed") / 1e6 for network in networks], milliseconds]
    for axis, cost, label in zip(axes, costs, ("executed MACs, millions", "int8 LiteRT, ms, one thread"), strict=True):
        for i, (network, x) in enumerate(zip(networks, cost, strict=True)):
            accuracies = [100 * seed["accuracy"] for seed in network.seeds]
            mean = float(np.mean(accuracies))
            bars = [[mean - min(accuracies)], [max(accuracies) - mean]]
            marker = "D" if "hydranet" in network.name or "single_gated" in network.name else "s"
            axis.errorbar([x], [mean], bars, fmt=marker, color=f"C{i}", alpha=0.8, label=network.name)
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    for words, curve in found.items():
        macs, accuracies = zip(*curve, strict=True)
        axes[0].plot(np.array(macs) / 1e6, 100 * np.array(accuracies), lw=1, label=words)
    axes[0].set_ylabel("accuracy on test photographs, %")
    axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle("Photographs: mixtures (diamonds) and dense networks (squares)", fontsize=10)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=90)
    return stream.getvalue()


def _trained(point, seed, epochs):
    """What a point reaches, from ``result.json`` where it was trained before."""
    folder = RUNS / point.replace(":", "_") / f"seed{seed}"
    if not (folder / "result.json").exists():
        size, blocks = _parsed(point)
        network = dense(size, branch_blocks=blocks)
        starts = (("second", published_dense(), THINNED), ("again", network, MIXTURE))
        rounds = [
            second_round(network, start, with_seed(recipe, seed, count), folder / name)
            for (name, start, recipe), count in zip(starts, epochs, strict=True)
        ]
        measured = measure_on_photos(network)
        measured["macs_executed"] -= _macs_of_gate(network)
        write_json(folder / "result.json", {**measured, "epochs": list(epochs), "history": rounds})
    return json.loads((folder / "result.json").read_text())


def _macs_of_gate(network):
    """A HydraNet of one branch has a gate with nothing to choose; the dense network that it stands for has none."""
    return network.macs_by_part()["gate"]


def _tried(name):
    """What each seed of a recipe reached that is not published; none where it did not run here."""
    paths = sorted(pathlib.Path("runs", name).glob("seed*/result.json"))
    return [json.loads(path.read_text()) for path in paths] if name not in zoo.list_models() else []


def _draw_routes(path, name="hydranet_photos"):
    """Share of each domain's test photographs for which a branch runs, as a table in colours."""
    import matplotlib.pyplot as plt

    model = zoo.load(name)
    images, labels = photos("test")
    ran = model.route(resized(images, model.input_shape[1])) != 0
    domain_of = np.array(photos_classes()[1])[labels]
    shares = np.stack([ran[domain_of == domain].mean(0) for domain in PHOTOS_DOMAINS])
    figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        axes.text(column, row, f"{share:.0%}", ha="center", va="center", color="white" if share > 0.6 else "black")
    axes.set_xticks(range(ran.shape[1]), [f"branch {k}" for k in range(ran.shape[1])])
    axes.set_yticks(range(len(PHOTOS_DOMAINS)), PHOTOS_DOMAINS)
    axes.set_title(f"Share of a domain's test photographs\nfor which each branch of {name} runs", fontsize=10)
    figure.savefig(path, dpi=120)
    print(np.round(shares, 3))


if __name__ == "__main__":
    main()
