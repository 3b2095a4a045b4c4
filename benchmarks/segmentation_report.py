"""Gates, ensembles, experts and the sparse form of segmentation_camvid, side by side: ``report.md``, data and plot.

    KERAS_MOE_DATA=<folder> python -m benchmarks.segmentation_report      # run the three recipes of CamVid first

Trains, on seed 0, what the published mixture is compared with: the base for as many epochs more as the experts had,
every other gate, and experts from random weights, as the paper has them, with their own sparse form.
"""

import pathlib

from benchmarks import without_options
from keras_moe.datasets import CAMVID_CLASSES, CAMVID_DOMAINS, camvid
from keras_moe.files import write_bytes, write_json
from keras_moe.metrics import measure_segmenter
from keras_moe.models import SegmentationMoE, Segmenter
from keras_moe.recipes import deeplab_camvid, segmentation_camvid
from keras_moe.recipes.shared.camvid import SMALL
from keras_moe.training import run_stages, segmentation_stage, train_domain_experts, train_segmentation
from keras_moe.weights import load_weights, save_weights
from keras_moe.zoo.store import published_folder

REPORTS = published_folder() / "segmentation_camvid"
RUNS = pathlib.Path("runs")
FOLDER = RUNS / "segmentation_camvid"
GATES = {
    "gate per image": {"gate_kind": "image"},
    "gate per image + conv": {"gate_kind": "image", "conv": True},
    "gate per class": {"gate_kind": "class"},
    "gate per class + conv": {"gate_kind": "class", "conv": True},
    "gate per pixel": {"gate_kind": "pixel"},
    "gate per pixel + conv": {"gate_kind": "pixel", "conv": True},
}
SPARSE = {"gate_kind": "image", "sparse": True}
THRESHOLDS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0)


def main():
    without_options(__doc__)
    train, test = camvid("train"), camvid("test")
    base = SMALL.load_base(RUNS, 0)
    grown, scratch = _grown(), _scratch(train)
    rows = {"dense": {"base, all domains": base, "base, trained on for 20 epochs": _longer(train)}}
    curves = {}
    for label, experts, gates in (("grown", grown, list(GATES)), ("scratch", scratch, list(GATES)[:4])):
        moes = {name: _moe(label, name, GATES[name], experts, train) for name in gates}
        sparse = _published_sparse() if label == "grown" else _moe(label, "sparse", SPARSE, experts, train)
        any_of_them = next(iter(moes.values()))
        rows[label] = {
            "day expert": experts[0],
            "dusk expert": experts[1],
            "ensemble, mean": any_of_them.ensemble("mean"),
            "ensemble, max": any_of_them.ensemble("max"),
            **moes,
        }
        curves[label] = _sparse_curve(sparse, test)
    measured = {
        label: {name: _measure(network, test, base.macs_total) for name, network in networks.items()}
        for label, networks in rows.items()
    }
    write_json(REPORTS / "comparison.json", {"networks": measured, "sparse": curves})
    _plot(measured, curves).savefig(REPORTS / "sparse.png", dpi=110)
    sections = [_table(measured), _targets(measured, curves), _sparse_table(curves), _classes(measured)]
    head = (
        "# segmentation_camvid: what it does and what it was compared with\n\nWritten by "
        "`benchmarks/segmentation_report.py`. CamVid test set, "
        "233 images (171 by day, 62 at dusk) at 120x160, against masks of that size; one seed.\n\n"
    )
    write_bytes(REPORTS / "report.md", (head + "\n\n".join(sections) + "\n").encode())
    print((REPORTS / "report.md").read_text())


def _grown():
    return SMALL.train_experts(RUNS, 0, SMALL.expert.epochs)[0]


def _scratch(train):
    build = deeplab_camvid.RECIPE.build
    return train_domain_experts(build, train[:2], train[2], FOLDER / "scratch", SMALL.base)[0]


def _longer(train):
    """The base for 20 epochs more on all images, by the recipe of the grown experts: the control."""
    model = SMALL.load_base(RUNS, 0)
    run_stages(model, [segmentation_stage(model, SMALL.expert, train[:2])], FOLDER / "longer")
    return model


def _moe(label, name, options, experts, train):
    folder = FOLDER / label / name.replace(" ", "_")
    config = {k: v for k, v in segmentation_camvid.CONFIG.items() if k not in ("gate_kind", "conv")}
    model = SegmentationMoE(**config, **options, classifier_activation=None)
    if (folder / "weights.safetensors").exists():
        load_weights(model, folder / "weights.safetensors")
        return model
    domains = train[2] if options.get("sparse") else None
    train_segmentation(model, experts, train[:2], folder, SMALL.gate, domains)
    save_weights(model, folder / "weights.safetensors")
    return model


def _published_sparse():
    config = {**SMALL.config, **SPARSE}
    weights = RUNS / "segmentation_sparse_camvid" / "seed0" / "weights.safetensors"
    return SegmentationMoE(**config, classifier_activation=None, weights=weights)


def _measure(network, test, macs):
    images, masks, domains = test
    measured = measure_segmenter(network, images, masks, len(CAMVID_CLASSES))
    for domain, label in enumerate(CAMVID_DOMAINS):
        own = domains == domain
        measured[label] = measure_segmenter(network, images[own], masks[own], len(CAMVID_CLASSES))["miou"]
    own_macs = {Segmenter: lambda: network.macs_total, SegmentationMoE: lambda: network.mean_macs(images=images)}
    return {**measured, "macs": own_macs.get(type(network), lambda: 2 * macs)()}


def _sparse_curve(model, test):
    points = []
    for threshold in THRESHOLDS:
        model.drop_below = threshold
        route = model.route(test[0])
        points.append(
            {
                "drop_below": threshold,
                **_measure(model, test, None),
                "both": float(((route != 0).sum(1) == 2).mean()),
                "first_choice_is_own_domain": float((route.argmax(1) == test[2]).mean()),
            }
        )
    return points


def _table(measured):
    heads = {"dense": "one network", "grown": "experts grown from the base", "scratch": "experts from random weights"}
    rows = [
        "## All of it",
        "",
        "| | MACs | mIoU | mIoU by day | mIoU at dusk | pixels right | ECE |",
        "|---|---|---|---|---|---|---|",
    ]
    for label, networks in measured.items():
        rows.append(f"| **{heads[label]}** | | | | | | |")
        rows += [
            f"| {name} | {r['macs'] / 1e6:.0f} M | {r['miou']:.2%} | {r['day']:.2%} | {r['dusk']:.2%} | "
            f"{r['accuracy']:.2%} | {r['ece']:.4f} |"
            for name, r in networks.items()
        ]
    notes = (
        "A day expert at dusk, and a dusk expert by day, are the out-of-domain figures. mIoU over both domains is that "
        "of all pixels together, not a mean of the two columns. Training, in passes over all 367 images: the base 70; "
        "experts grown from it 70 + 20 each; experts from random weights 70 each; gates 8. With one seed, differences "
        "of a few tenths between gates say nothing."
    )
    return "\n".join([*rows, "", notes])


def _targets(measured, curves):
    base = measured["dense"]["base, all domains"]["miou"]
    rows = ["## Against what was hoped for", ""]
    for label, gates in (("grown", "grown from the base"), ("scratch", "from random weights")):
        networks = measured[label]
        name = "gate per class + conv"
        moe, mean = networks[name]["miou"], networks["ensemble, mean"]["miou"]
        fits = [p for p in curves[label] if p["miou"] >= 0.98 * moe]
        cheapest = min(fits or curves[label], key=lambda p: p["macs"])
        rows += [
            f"- Experts {gates}, {name}: {100 * (moe - mean):+.2f} points against the mean ensemble (hoped for: +2), "
            f"{100 * (moe - base):+.2f} against the base trained on all domains (hoped for: not below).",
            f"- Experts {gates}, sparse: {cheapest['miou'] / moe:.1%} of that mixture's mIoU at "
            f"{cheapest['macs'] / networks[name]['macs']:.1%} of its MACs, with `drop_below` {cheapest['drop_below']} "
            "(hoped for: 98 % at 60 %).",
        ]
    return "\n".join(rows)


def _sparse_table(curves):
    rows = ["## The sparse form: one expert, or both where the gate is unsure", ""]
    for label, points in curves.items():
        both, one = points[0], points[-1]
        rows += [
            f"Experts {label}; the gate's first choice is the image's own domain for "
            f"{one['first_choice_is_own_domain']:.2%} of the test images. Two experts for everyone instead of one "
            f"change mIoU by {100 * (both['miou'] - one['miou']):+.2f} points, "
            f"ECE by {both['ece'] - one['ece']:+.4f}.",
            "",
            "| `drop_below` | MACs | both run | mIoU | by day | at dusk | ECE |",
            "|---|---|---|---|---|---|---|",
            *(
                f"| {p['drop_below']} | {p['macs'] / 1e6:.0f} M | {p['both']:.1%} | {p['miou']:.2%} | {p['day']:.2%} | "
                f"{p['dusk']:.2%} | {p['ece']:.4f} |"
                for p in points
            ),
            "",
        ]
    more = (
        "[escalation.md](escalation.md) asks whether disagreement of shallow predictions would be a better reason to "
        "run both experts than the gate's doubt: it is not."
    )
    return "\n".join([*rows, "![mIoU against MACs](sparse.png)", "", more])


def _classes(measured):
    columns = {
        "base": measured["dense"]["base, all domains"],
        "mean ensemble": measured["grown"]["ensemble, mean"],
        "gate per class + conv": measured["grown"]["gate per class + conv"],
    }
    rows = ["## IoU per class, experts grown", "", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for i, name in enumerate(CAMVID_CLASSES):
        rows.append(f"| {name} | " + " | ".join(f"{measured['iou'][i]:.2%}" for measured in columns.values()) + " |")
    return "\n".join(rows)


def _plot(measured, curves):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.2), layout="constrained")
    axes = figure.subplots()
    for i, (label, points) in enumerate(curves.items()):
        moe, at = measured[label]["gate per class + conv"], f"experts {label}"
        macs, miou = [p["macs"] / 1e6 for p in points], [100 * p["miou"] for p in points]
        axes.plot(macs, miou, ".-", color=f"C{i}", label=f"sparse, {at}")
        axes.plot(moe["macs"] / 1e6, 100 * moe["miou"], "D", color=f"C{i}", label=f"gate per class + conv, {at}")
    base = measured["dense"]["base, all domains"]
    axes.plot(base["macs"] / 1e6, 100 * base["miou"], "s", color="black", label="base, all domains")
    axes.set(xlabel="MACs per image, millions", ylabel="mIoU on the test set, %")
    axes.set_title("CamVid: from one expert per image (left) to both for every image")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
