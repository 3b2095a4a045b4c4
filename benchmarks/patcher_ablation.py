"""Patcher on Kvasir-SEG beside what it is compared with: a sum of scales without a gate, and the U-Net. ``report.md``.

KERAS_MOE_DATA=<folder> python -m benchmarks.patcher_ablation     # after both recipes; trains the sum of scales
"""

import json
import pathlib

import keras

from benchmarks import without_options
from keras_moe import zoo
from keras_moe.files import write_bytes
from keras_moe.recipes import patcher_kvasir
from keras_moe.weights import save_weights
from keras_moe.zoo.store import published_folder

FOLDER = published_folder() / "patcher_kvasir"
RUN = pathlib.Path("runs", "patcher_kvasir_sum", "seed0")


def main():
    without_options(__doc__)
    model = patcher_kvasir.RECIPE
    keras.utils.set_random_seed(0)
    network = patcher_kvasir.RECIPE.build(decoder="sum")
    model.train(network, 0, RUN, model.epochs)
    save_weights(network, RUN / "weights.safetensors")
    rows = {"scales added up, no gate": (network.macs_total, model.measure(network))}
    for name in ("patcher_kvasir", "unet_kvasir"):
        measured = json.loads((FOLDER.parent / name / "metrics.json").read_text())["published"]
        rows[f"`{name}`"] = (zoo.card(name).macs_total, measured)
    lines = ["| network | MACs | Dice | IoU of polyps | ECE |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {macs / 1e6:.0f} M | {m['dice']:.4f} | {m['iou_polyp']:.4f} | {m['ece']:.4f} |"
        for name, (macs, m) in rows.items()
    ]
    head = "# patcher_kvasir: what it was compared with\n\nWritten by `benchmarks/patcher_ablation.py`. "
    head += f"Kvasir-SEG, 100 test images of 256x256, one seed, {model.epochs} epochs each; the sum was trained on "
    head += f"{keras.backend.backend()}."
    text = f"{head}\n\n" + "\n".join(lines) + "\n"
    write_bytes(FOLDER / "report.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
