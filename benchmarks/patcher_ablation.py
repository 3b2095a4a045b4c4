"""A Patcher on Kvasir-SEG beside what it is compared with: a sum of scales without a gate, and a U-Net. ``report.md``.

    KERAS_MOE_DATA=<folder> python -m benchmarks.patcher_ablation [patcher_lite0_kvasir]

After the Patcher is published and the recipe of the U-Net was run, published or not; trains the sum of scales.
"""

import argparse
import json
import pathlib

import keras

from keras_moe import zoo
from keras_moe.files import write_bytes
from keras_moe.recipes import load_recipe
from keras_moe.weights import save_weights
from keras_moe.zoo.store import published_folder

UNETS = {"patcher_kvasir": "unet_kvasir", "patcher_lite0_kvasir": "unet_lite0_kvasir"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", default="patcher_kvasir", choices=list(UNETS))
    name = parser.parse_args().name
    model, folder, run = load_recipe(name), published_folder(), pathlib.Path("runs", f"{name}_sum", "seed0")
    keras.utils.set_random_seed(0)
    network = model.build(decoder="sum")
    model.train(network, 0, run, model.epochs)
    save_weights(network, run / "weights.safetensors")
    rows = {"scales added up, no gate": (network.macs_total, model.measure(network))}
    for other in (name, UNETS[name]):
        rows[f"`{other}`"] = (load_recipe(other).build(weights=None).macs_total, _measured(other))
    lines = ["| network | MACs | Dice | IoU of polyps | ECE |", "|---|---|---|---|---|"]
    lines += [
        f"| {row} | {macs / 1e6:.0f} M | {m['dice']:.4f} | {m['iou_polyp']:.4f} | {m['ece']:.4f} |"
        for row, (macs, m) in rows.items()
    ]
    head = f"# {name}: what it was compared with\n\nWritten by `benchmarks/patcher_ablation.py`. "
    head += f"Kvasir-SEG, 100 test images of 256x256, one seed, {model.epochs} epochs each; the sum was trained on "
    head += f"{keras.backend.backend()}."
    text = f"{head}\n\n" + "\n".join(lines) + "\n"
    write_bytes(folder / name / "report.md", text.encode())
    print(text)


def _measured(name):
    """The figures of a network that is published, or of the first seed where its recipe ran here."""
    if name in zoo.list_models():
        return json.loads((published_folder() / name / "metrics.json").read_text())["published"]
    return json.loads(pathlib.Path("runs", name, "seed0", "result.json").read_text())


if __name__ == "__main__":
    main()
