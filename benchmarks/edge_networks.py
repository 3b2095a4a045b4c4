"""Candidates for a microcontroller of 512 KB flash and 256 KB RAM, untrained: their size decides, not their accuracy.

    KERAS_BACKEND=tensorflow python -m benchmarks.edge_networks

For each network: its parameters, the bytes of its int8 parts, the largest arena of its graphs in tflite-micro, and the
multiply-accumulates and Vela's cycles on an Ethos-U55-128 of an image that runs one expert, or two.
"""

import json
import pathlib
import tempfile
import warnings

import numpy as np

from keras_moe.export import litert
from keras_moe.export.targets import tflm, vela
from keras_moe.models import Classifier, HydraNet

KIB, NPU = 1024, "ethos-u55-128"
SHAPE, CLASSES = (32, 32, 3), 20
DENSE = [("resnet8", 1.0), ("resnet8", 1.1), ("resnet8", 1.2), ("resnet14", 0.5), ("resnet14", 0.75), ("litenet", 1.0)]
EXPERTS = (5,)  # 20 classes in groups of four


def main():
    print("| network | parameters | files | arena | MACs | cycles |\n|---|---|---|---|---|---|")
    for backbone, alpha in DENSE:
        _print(f"{backbone}, alpha {alpha}", Classifier(SHAPE, alpha, backbone, classes=CLASSES))
    for experts in EXPERTS:
        model = HydraNet(SHAPE, 1.0, "resnet8", experts, top_k=2, gate_filters=16, classes=CLASSES)
        _print(f"resnet8, {experts} experts", model)


def _print(name, network):
    graphs = _parts(network)
    arena = max(tflm.TFLMGraph(data).arena_bytes() for data in graphs.values())
    cycles = {name: vela.compiled(data, NPU).cycles for name, data in graphs.items()}
    if network.bank is None:
        macs, spent = f"{network.macs_total / 1e6:.1f} M", f"{cycles['whole']:,}"
    else:
        always = sum(count for part, count in cycles.items() if not part.startswith("expert"))
        macs = " / ".join(f"{network.mean_macs(route=_route(network, k)) / 1e6:.1f} M" for k in (1, 2))
        spent = " / ".join(f"{always + k * cycles['expert_0']:,}" for k in (1, 2))
    size = sum(map(len, graphs.values()))
    print(f"| {name} | {network.count_params():,} | {size / KIB:.0f} KiB | {arena / KIB:.0f} KiB | {macs} | {spent} |")


def _parts(network):
    """Name -> bytes of the int8 parts."""
    images = np.random.default_rng(0).uniform(0, 255, (8, *SHAPE))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of experts without images: the network is untrained
        manifest = pathlib.Path(folder, "parts.json")
        litert(network, manifest, "parts", "int8", representative_dataset=images, check_parity=False)
        parts = json.loads(manifest.read_text())["parts"]
        return {part["name"]: manifest.with_name(part["file"]).read_bytes() for part in parts}


def _route(network, k):
    return np.arange(len(network.bank.experts))[None] < k


if __name__ == "__main__":
    main()
