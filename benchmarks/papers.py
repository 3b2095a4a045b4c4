"""CIFAR-100: the zoo's networks beside the papers' points, accuracy against executed MACs. Writes ``papers.png``.

    KERAS_BACKEND=jax python -m benchmarks.papers

The zoo's figures are those of its cards; a bar spans the seeds. The papers' figures were read from their plots, so that
the last digit is uncertain: HydraNets (CVPR 2018, figure of CIFAR-100) and single-gated MoE (BMVC 2022, poster). Their
networks, epochs and augmentations differ from ours and from each other's: points of one colour compare like with like.
"""

import io
import pathlib

from matplotlib.figure import Figure

from keras_moe import zoo
from keras_moe.files import write_bytes
from keras_moe.zoo import Card

# (GMACs, top-1 accuracy in %)
RESNET = [(0.052, 65.42), (0.109, 67.55), (0.138, 67.98), (0.250, 69.89), (0.505, 72.11), (0.761, 73.26)]
HYDRA_RES = [(0.052, 65.81), (0.118, 71.24), (0.184, 72.30), (0.251, 73.35), (0.317, 73.84), (0.384, 74.29)]
SINGLE_GATED_BASE = [(0.253, 74.96), (0.555, 77.95), (1.159, 78.60), (1.298, 80.10)]
SINGLE_GATED = [(0.371, 77.96), (0.522, 78.78), (0.673, 79.78), (0.824, 79.90), (1.277, 80.48)]
PAPERS = [
    ("HydraNets paper: ResNet", RESNET, "#c77d2e", "--"),
    ("HydraNets paper: Hydra-Res", HYDRA_RES, "#c77d2e", "-"),
    ("single-gated paper: bases", SINGLE_GATED_BASE, "#5b8c5a", "--"),
    ("single-gated paper: mixtures", SINGLE_GATED, "#5b8c5a", "-"),
]
OURS = "#3949ab"


def main() -> None:
    cards = [card for card in map(zoo.card, zoo.list_models()) if card.data.name == "CIFAR-100"]
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    for label, points, colour, line in PAPERS:
        axes.plot(*zip(*points, strict=True), line, color=colour, marker="o", markersize=4, label=label)
    for is_dense, marker in ((True, "s"), (False, "D")):
        chosen = [card for card in cards if (card.system == "dense") == is_dense]
        macs, mean, below, above = zip(*map(_point, chosen), strict=True)
        label = f"keras_moe: {'dense networks' if is_dense else 'mixtures'}"
        axes.errorbar(macs, mean, (below, above), fmt=marker, color=OURS, mfc="w" if is_dense else OURS, label=label)
    for card in cards:
        x, y, _, above = _point(card)
        at, place, side = ((x, y), (6, -12), "left") if card.system == "dense" else ((x, y + above), (0, 7), "center")
        axes.annotate(card.name, at, place, textcoords="offset points", ha=side, fontsize=8, color=OURS)
    axes.set(xscale="log", xlim=(0.013, 2), xlabel="executed GMACs per image", ylabel="top-1 accuracy on CIFAR-100, %")
    axes.set_title("The zoo's CIFAR-100 networks are smaller than the papers', where mixtures have little to win")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=100)
    write_bytes(pathlib.Path(__file__).with_name("papers.png"), stream.getvalue())


def _point(card: Card) -> tuple[float, float, float, float]:
    """GMACs, mean accuracy over seeds in %, and how far the lowest and the highest seed are from it."""
    metric = card.metrics[0]
    mean = 100 * metric.value
    return card.macs_executed / 1e9, mean, mean - 100 * min(metric.per_seed), 100 * max(metric.per_seed) - mean


if __name__ == "__main__":
    main()
