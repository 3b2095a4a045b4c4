"""The dense frontier on photographs: EfficientNet-Lite0 thinned in depth and in pixels, trained as the mixtures were.

    KERAS_BACKEND=tensorflow python -m benchmarks.photos [--points 128:1 128 …] [--out frontier.md]
    KERAS_BACKEND=tensorflow python -m benchmarks.photos --routes routes.png

A point is a size in pixels and, after a colon, the most blocks of a stage behind the stem. Every point grows from
``efficientnet_lite0_photos`` and learns in two rounds (``keras_moe.recipes.shared.photos``), as a thinned network and
the mixtures that grow from it do; what was trained before is not trained again. Accuracy on the test split, the mean
over photographs and over classes. ``--routes`` draws which branches of ``hydranet_photos`` serve which domain.
"""

import argparse
import json
import pathlib

import numpy as np

from keras_moe import zoo
from keras_moe.datasets import PHOTOS_DOMAINS, photos, photos_classes
from keras_moe.files import write_bytes, write_json
from keras_moe.images import resized
from keras_moe.recipes.shared.photo_features import dense
from keras_moe.recipes.shared.photos import (
    MIXTURE,
    THINNED,
    measure_on_photos,
    published_dense,
    second_round,
    with_seed,
)

POINTS = ("160", "160:1", "128", "128:1", "96", "96:1")
RUNS = pathlib.Path("runs", "photos_frontier")
UNPUBLISHED = ("efficientnet_lite0_thin_photos", "single_gated_photos")
HEAD = """# Photographs: mixtures and the dense frontier

Written by `benchmarks/photos.py`: 6,110 test photographs of 203 classes, one seed. A dense point is a size in pixels
and the most blocks of a stage behind the stem, trained as long as the mixtures were, from the same labels and teacher.

"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", nargs="+", default=POINTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, help="a Markdown file for the table")
    parser.add_argument("--routes", type=pathlib.Path, help="a PNG: domains against branches of hydranet_photos")
    arguments = parser.parse_args()
    if arguments.routes:
        return _draw_routes(arguments.routes)
    rows = [_row(f"dense {point}", _trained(point, arguments.seed)) for point in arguments.points]
    rows += [_row(f"{name}, not published", _tried(name)) for name in UNPUBLISHED if _tried(name)]
    rows += [_row(name, _published(name)) for name in zoo.list_models("*_photos")]
    head = "| network | accuracy | of classes | MACs executed | share of the dense network at 160 px |"
    table = "\n".join([head, "|---|---|---|---|---|", *rows]) + "\n"
    print(table)
    if arguments.out:
        write_bytes(arguments.out, (HEAD + table).encode())


def _trained(point, seed):
    """What a point reaches, from ``result.json`` where it was trained before."""
    folder = RUNS / point.replace(":", "_") / f"seed{seed}"
    if not (folder / "result.json").exists():
        size, _, blocks = point.partition(":")
        network = dense(int(size), branch_blocks=int(blocks) if blocks else None)
        rounds = [
            second_round(network, start, with_seed(recipe, seed, recipe.epochs), folder / name)
            for name, start, recipe in (("second", published_dense(), THINNED), ("again", network, MIXTURE))
        ]
        measured = measure_on_photos(network)
        measured["macs_executed"] -= _macs_of_gate(network)
        write_json(folder / "result.json", {**measured, "history": rounds})
    return json.loads((folder / "result.json").read_text())


def _macs_of_gate(network):
    """A HydraNet of one branch has a gate with nothing to choose; the dense network that it stands for has none."""
    return network.macs_by_part()["gate"]


def _published(name):
    card = zoo.card(name)
    values = {metric.name: metric.value for metric in card.metrics}
    return {**values, "macs_executed": card.macs_executed}


def _tried(name):
    """What a recipe reached that is not published, or None where it did not run here."""
    path = pathlib.Path("runs", name, "seed0", "result.json")
    return json.loads(path.read_text()) if path.exists() and name not in zoo.list_models() else None


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


def _row(name, measured):
    whole = dense(160).macs_total
    accuracy, of_classes, macs = (measured[key] for key in ("accuracy", "accuracy_of_classes", "macs_executed"))
    return f"| {name} | {accuracy:.2%} | {of_classes:.2%} | {macs / 1e6:.1f} M | {macs / whole:.3f} |"


if __name__ == "__main__":
    main()
