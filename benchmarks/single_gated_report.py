"""Measures single_gated_cifar100: the any-time curve that ``benchmarks.single_gated_anytime`` draws, and routing.

    python -m benchmarks.single_gated_report        # needs the trained seeds: run the recipe first

Also trains, on seed 0 and by the same recipe, what the mixture is compared with: one expert that sees all images (a
one-expert ensemble), and four experts routed class by class instead of image by image.
"""

import pathlib

import numpy as np

from benchmarks import without_options
from keras_moe.datasets import cifar100
from keras_moe.files import write_bytes, write_json
from keras_moe.models import SingleGatedMoE
from keras_moe.recipes import single_gated_cifar100
from keras_moe.training import Recipe, anytime_curve, fit_threshold, partition_classes, train_single_gated
from keras_moe.weights import load_weights, save_weights
from keras_moe.zoo.store import published_folder

FOLDER = published_folder() / "single_gated_cifar100"
RUNS = pathlib.Path("runs")
CALIBRATION = 2000
BUDGETS = (1.05, 1.1, 1.2, 1.3)


def main():
    without_options(__doc__)
    learn, test = cifar100()
    seeds = [s for s in (0, 1) if _weights(s).exists()]
    models = {seed: _load(_weights(seed)) for seed in seeds}
    one, by_class, groups = _one_expert(learn, test), *_class_routed(learn, test)
    every = np.linspace(0, 1, 51)
    curves = {f"4 experts, seed {seed}": anytime_curve(model, *test, every) for seed, model in models.items()}
    curves["1 expert, seed 0"] = anytime_curve(one, *test, every)

    write_json(FOLDER / "anytime.json", {name: [_measured(p) for p in c] for name, c in curves.items()})
    sections = [_budgets(models[seeds[0]], test), _routing(models[seeds[0]], by_class, groups, test)]
    text = "# single_gated_cifar100: budgets and routing\n\nWritten by `benchmarks/single_gated_report.py`.\n\n"
    write_bytes(FOLDER / "report.md", (text + "\n\n".join(sections) + "\n").encode())
    print((FOLDER / "report.md").read_text())


def _measured(point):
    """A row of ``anytime.json``."""
    return {"threshold": point.value, "accuracy": point.quality, "macs": point.macs, "exits": point.exits}


def _weights(seed):
    return RUNS / "single_gated_cifar100" / f"seed{seed}" / "weights.safetensors"


def _load(path):
    return SingleGatedMoE(**single_gated_cifar100.CONFIG, classifier_activation=None, weights=path)


def _one_expert(learn, test):
    return _variant("one_expert", learn, test, num_experts=1)


def _class_routed(learn, test):
    base = single_gated_cifar100.load_base(RUNS, 0)
    groups = partition_classes(
        base.predict(learn[0], batch_size=500, verbose=0), learn[1], single_gated_cifar100.CONFIG["num_experts"]
    )
    return _variant("by_class", learn, test, groups=groups), groups


def _variant(name, learn, test, groups=None, **config):
    folder = RUNS / "single_gated_cifar100" / name
    model = SingleGatedMoE(**{**single_gated_cifar100.CONFIG, **config}, classifier_activation=None)
    if (folder / "weights.safetensors").exists():
        load_weights(model, folder / "weights.safetensors")
        return model
    model.init_from_classifier(single_gated_cifar100.load_base(RUNS, 0))
    train_single_gated(model, learn, test, folder, Recipe(single_gated_cifar100.RECIPE.epochs, seed=0), groups=groups)
    save_weights(model, folder / "weights.safetensors")
    return model


def _budgets(model, test):
    images, labels = test
    held_out, rest = (images[:CALIBRATION], labels[:CALIBRATION]), (images[CALIBRATION:], labels[CALIBRATION:])
    base = anytime_curve(model, *rest, [0.0])[0].macs
    rows = [
        f"## Budgets, set on the first {CALIBRATION:,} test images, met on the other {len(rest[0]):,}",
        "",
        "| budget | threshold | MACs expected | MACs achieved | off by | accuracy expected | accuracy achieved |",
        "|---|---|---|---|---|---|---|",
    ]
    for share in BUDGETS:
        expected = fit_threshold(model, *held_out, budget=share * base)
        (achieved,) = anytime_curve(model, *rest, [expected.value])
        rows.append(
            f"| {share:.2f} x base | {expected.value:.3f} | {expected.macs / 1e6:.2f} M | {achieved.macs / 1e6:.2f} M "
            f"| {achieved.macs / expected.macs - 1:+.1%} | {expected.quality:.2%} | {achieved.quality:.2%} |"
        )
    return "\n".join(rows)


def _routing(by_sample, by_class, groups, test):
    """Accuracy by who decides, with the ensembler and with the expert alone, as in the poster's ablation."""
    images, labels = test
    columns = {}
    for name, model in (("image by image", by_sample), ("class by class", by_class)):
        outputs = model.expert_outputs().predict(images, batch_size=500, verbose=0)
        columns[name] = _both(outputs, outputs["gate_logits"].argmax(1), labels)
        if model is by_class:
            columns["class by class, oracle gate"] = _both(outputs, groups[labels], labels)
    rows = ["## Who decides", "", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for i, row in enumerate(("base and expert averaged", "the expert alone")):
        rows.append(f"| {row} | " + " | ".join(f"{accuracies[i]:.2%}" for accuracies in columns.values()) + " |")
    return "\n".join([*rows, "", "The oracle gate knows the label: it shows what a better gate could still give."])


def _both(outputs, chosen, labels):
    expert = outputs["experts"][np.arange(len(labels)), chosen]
    return [float(np.mean(logits.argmax(-1) == labels)) for logits in (outputs["base"] + expert, expert)]


if __name__ == "__main__":
    main()
