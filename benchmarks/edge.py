"""Exported int8 files on a microcontroller's interpreter and under an NPU's compiler.

    python -m benchmarks.edge micro [NAME…] [--images 300]
    python -m benchmarks.edge npu [NAME…] [--images 300]

``micro`` asks LiteRT and tflite-micro for the same test images, and prints for how many both name the same class (of an
image, the share of equal values once rounded) and run the same experts, and the memory that tflite-micro took.

``npu`` compiles the parts with Vela, and prints the cycles that it estimates for the NPU, averaged over the routes of
the images: trunk, router, the chosen experts and head, beside all experts, and beside the dense baseline of the card.
What Vela leaves to the CPU has no estimate; it is counted. The row *one file* is the routed file, of which Vela counts
every branch.
"""

import argparse

from keras_moe import zoo
from keras_moe.export import LiteRTModel
from keras_moe.export.litert import parity
from keras_moe.export.targets import tflm, vela
from keras_moe.recipes.publishing.edge_figures import graphs_of, shares, test_images
from keras_moe.zoo.store import published_folder

FILES = ("parts_int8.json", "routed_int8.tflite")
KIB = 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("micro", "npu"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="published models; by default all with int8 files")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--npu", nargs="+", choices=list(vela.ACCELERATORS), default=list(vela.ACCELERATORS))
    arguments = parser.parse_args()
    names = arguments.names or [name for name in zoo.list_models() if (published_folder() / name / FILES[1]).exists()]
    if arguments.command == "micro":
        _micro(names, arguments.images)
    else:
        _npu(names, arguments.images, arguments.npu)


def _micro(names, count):
    print("| model | file | images | same class | same experts | arena | file |\n|---|---|---|---|---|---|---|")
    for name in names:
        images = test_images(zoo.card(name), count)
        for file in FILES:
            path = published_folder() / name / file
            if path.exists():
                print(f"| `{name}` | `{file}` | {_agreement(name, path, images)} |", flush=True)


def _agreement(name, path, images):
    """What tflite-micro gives beside LiteRT, and its memory: cells of a table."""
    graphs = graphs_of(path)
    try:
        model = LiteRTModel(path, runtime="tflm")
        arena = max(tflm.TFLMGraph(data).arena_bytes() for data in graphs.values())
    except ValueError as error:
        return f"0 | does not run: {error} | | | "
    expected, scores = LiteRTModel(path).predict_routed(images), bool(model.labels)
    found = parity.compare(*model.predict_routed(images), *expected, scores)
    routes = f"{found['routing_agreement']:.1%}" if "routing_agreement" in found else "dense"
    size = sum(map(len, graphs.values()))
    return (
        f"{len(images)} | {found['prediction_agreement']:.1%} | {routes} | {arena / KIB:,.0f} KiB | "
        f"{size / KIB:,.0f} KiB"
    )


def _npu(names, count, accelerators):
    columns = "model | NPU | routed | all experts | routed / all (MACs) | baseline | routed / baseline (MACs)"
    print(f"| {columns} | SRAM | DRAM | files | on the CPU |\n|{'---|' * 11}")
    for name in names:
        manifest = published_folder() / name / FILES[0]
        if not manifest.exists() or "trunk" not in graphs_of(manifest):
            continue
        route = LiteRTModel(manifest).route(test_images(zoo.card(name), count))
        for accelerator in accelerators:
            print(_compared(name, accelerator, route), flush=True)
            print(_one_file(name, accelerator), flush=True)


def _compared(name, accelerator, route):
    """A row: the parts of a model, whose experts run as ``route`` says, beside its baseline."""
    parts = {n: vela.compiled(data, accelerator) for n, data in graphs_of(published_folder() / name / FILES[0]).items()}
    used = shares(parts, route)
    routed, every = (
        [sum(getattr(part, figure) * share[n] for n, part in parts.items()) for figure in ("cycles", "macs")]
        for share in (used, dict.fromkeys(parts, 1))
    )
    dense = _baseline(name, accelerator)
    baseline = f"{dense.cycles:,} | {_ratios(routed, (dense.cycles, dense.macs))}" if dense else "none | "
    left = {n: [op.kind for op in part.operators if op.place == "CPU"] for n, part in parts.items()}
    kinds = sorted({kind for n, kept in left.items() if n != "router" for kind in kept})
    on_cpu = ", ".join([f"{len(left['router'])} of the router", *kinds])
    sram, dram = (max(getattr(part, figure) for part in parts.values()) for figure in ("sram_bytes", "dram_bytes"))
    size = sum(len(part.data) for part in parts.values())
    return (
        f"| `{name}` | {accelerator} | {routed[0]:,.0f} | {every[0]:,} | {_ratios(routed, every)} | {baseline} | "
        f"{sram / KIB:,.0f} KiB | {dram / KIB:,.0f} KiB | {size / KIB:,.0f} KiB | {on_cpu} |"
    )


def _one_file(name, accelerator):
    """A row: the routed file, whose ``IF`` Vela leaves to the CPU, compiling the branches."""
    try:
        made = vela.compiled(graphs_of(published_folder() / name / FILES[1])["model"], accelerator)
    except ValueError as error:
        return f"| `{name}`, one file | {accelerator} | refused: {error} {'| ' * 8}|"
    left = [op for op in made.operators if op.place == "CPU"]
    branches = sum(op.kind == "IF" for op in left)
    return (
        f"| `{name}`, one file | {accelerator} | | {made.cycles:,} | | | | {made.sram_bytes / KIB:,.0f} KiB | "
        f"{made.dram_bytes / KIB:,.0f} KiB | {len(made.data) / KIB:,.0f} KiB | {len(left)}, {branches} IF among them |"
    )


def _baseline(name, accelerator):
    """The dense network that a card compares its model with, compiled; None without any."""
    manifest = published_folder() / zoo.card(name).baseline / FILES[0]
    return vela.compiled(graphs_of(manifest)["whole"], accelerator) if manifest.is_file() else None


def _ratios(mine, others):
    cycles, macs = (a / b for a, b in zip(mine, others, strict=True))
    return f"{cycles:.2f} ({macs:.2f})"


if __name__ == "__main__":
    main()
