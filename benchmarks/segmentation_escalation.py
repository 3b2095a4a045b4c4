"""Who should escalate to both experts? Signals for the sparse form, side by side: ``escalation.md``, data and plot.

    KERAS_MOE_DATA=<folder> python -m benchmarks.segmentation_escalation      # the published weights; a few minutes

Of every test image the chosen expert runs. A signal sorts the images, those highest in it run both experts, weighed by
the gate, and the share that does is swept. The signals:

gate: one less the larger weight of the gate. It costs nothing more; ``drop_below`` is a threshold on it.
shallow: do shallow predictions disagree? Each expert's stem and first stages, with a linear head fitted on the training
    images of its own domain, label a small map; the signal is the share of it that the two label differently. The other
    expert's shallow layers and both heads run for every image and are charged; an escalated image goes on from there.
own: mean entropy of the chosen expert's prediction, known once it has run. It costs nothing more.
deep: the share of pixels on which both whole experts differ. It would cost both experts and is charged nothing: with it
    one sees what a perfect shallow prediction of disagreement could give.
oracle: how many more pixels both experts get right than the chosen one alone. It needs the labels, and bounds what any
    signal can do for the share of pixels that are right.
"""

import keras
import numpy as np
from scipy.special import softmax

from benchmarks import without_options
from keras_moe import cost, zoo
from keras_moe.datasets import CAMVID_CLASSES, camvid
from keras_moe.files import write_bytes, write_json
from keras_moe.metrics import IGNORE, confidence_bins, confusion_matrix, mean_iou
from keras_moe.zoo.store import published_folder

FOLDER = published_folder() / "segmentation_camvid"
NAME = "segmentation_sparse_camvid"
CLASSES, BINS = len(CAMVID_CLASSES), 15
DEPTHS = {"shallow at stage 0": "stage0", "shallow at stage 1": "stage1"}
FREE = ("gate", "own", "deep, free of charge", "oracle")
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)


def main():
    without_options(__doc__)
    model, train, test = zoo.load(NAME), camvid("train"), camvid("test")
    measured = _measured(model, test)
    signals = {
        "gate": 1 - measured["weights"].max(1),
        "own": measured["entropy"],
        "deep, free of charge": measured["differ"],
        "oracle": measured["gain"],
    }
    extra = dict.fromkeys(FREE, 0.0)
    heads = {}
    for name, stage in DEPTHS.items():
        networks = [_shallow(expert, f"expert_{k}_{stage}") for k, expert in enumerate(model.experts)]
        maps = [_labels_of_head(network, train, test, k) for k, network in enumerate(networks)]
        signals[name] = (maps[0]["test"] != maps[1]["test"]).mean((1, 2))
        macs = cost.macs(networks[0], (None, *test[0].shape[1:]))
        head = np.prod(networks[0].output_shape[1:]) * CLASSES
        heads[name] = {"accuracy": [m["accuracy"] for m in maps], "layers": int(macs), "head": int(head)}
        extra[name] = float(macs + 2 * head)
    parts = model.macs_by_part()
    one, more = parts["gate"] + parts["experts"][0], parts["experts"][1]
    saved = {name: heads[name]["layers"] if name in heads else 0 for name in signals}
    curves = {
        name: [_point(measured, signals[name], share, one + extra[name], more - saved[name]) for share in SHARES]
        for name in signals
    }
    results = {"curves": curves, "heads": heads, "correlation": _correlations(signals), "one": one, "more": more}
    write_json(FOLDER / "escalation.json", results)
    _plot(curves).savefig(FOLDER / "escalation.png", dpi=110)
    write_bytes(FOLDER / "escalation.md", _report(results).encode())
    print((FOLDER / "escalation.md").read_text())


def _measured(model, test):
    """Of every test image: what the chosen expert and both get right, and the signals that are free."""
    network, rows = model.expert_outputs(), []
    for image, mask in zip(*test[:2], strict=True):
        outputs = network.predict_on_batch(image[None].astype("float32"))
        experts, weights = (
            np.asarray(outputs["experts"])[0].astype("float64"),
            softmax(np.asarray(outputs["gate_logits"])[0]),
        )
        alone, both = experts[weights.argmax()], np.tensordot(weights, experts, 1)
        p, counted = softmax(alone, axis=-1), mask != IGNORE
        rows.append(
            {
                "weights": weights,
                "one": _counts(alone, mask),
                "both": _counts(both, mask),
                "entropy": -(p * np.log(p + 1e-12)).sum(-1).mean(),
                "differ": (experts[0].argmax(-1) != experts[1].argmax(-1)).mean(),
                "gain": float(((both.argmax(-1) == mask).astype(int) - (alone.argmax(-1) == mask))[counted].sum()),
            }
        )
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def _counts(logits, mask):
    """The confusion matrix and, by bin of confidence, the sum of confidence less rightness, in one row."""
    p, counted = softmax(logits, axis=-1), mask != IGNORE
    confidence, guess = p.max(-1)[counted], p.argmax(-1)[counted]
    off = np.bincount(confidence_bins(confidence, BINS), confidence - (guess == mask[counted]), minlength=BINS)
    return np.concatenate([confusion_matrix(mask[counted], guess, CLASSES).reshape(-1), off])


def _point(measured, signal, share, one, more):
    """Figures where the ``share`` of images that is highest in ``signal`` runs both experts."""
    escalated = np.zeros(len(signal), bool)
    escalated[np.argsort(-signal, kind="stable")[: round(share * len(signal))]] = True
    total = np.where(escalated[:, None], measured["both"], measured["one"]).sum(0)
    confusion = total[: CLASSES**2].reshape(CLASSES, CLASSES)
    return {
        "share": share,
        "macs": float(one + share * more),
        "miou": mean_iou(confusion),
        "accuracy": float(np.trace(confusion) / confusion.sum()),
        "ece": float(np.abs(total[CLASSES**2 :]).sum() / confusion.sum()),
    }


def _shallow(expert, end):
    """The expert's layers from images to the end of a stage."""
    named = [layer for layer in expert.layers if layer.name.startswith(end)]
    return keras.Model(expert.input, named[-1].output)


def _labels_of_head(network, train, test, domain):
    """Fits a linear head on what the shallow layers make of the domain's training images; labels the test images."""
    from sklearn.linear_model import LogisticRegression

    of_domain = train[2] == domain
    x, y = _features(network, train[0][of_domain]), _shrink(train[1][of_domain], network.output_shape)
    labelled = np.flatnonzero(y.reshape(-1) != IGNORE)
    rows = np.random.default_rng(0).choice(labelled, 30_000, replace=False)
    flat = x.reshape(-1, x.shape[-1])
    mean, scale = flat[rows].mean(0), flat[rows].std(0) + 1e-6
    head = LogisticRegression(max_iter=200, tol=1e-3).fit((flat[rows] - mean) / scale, y.reshape(-1)[rows])
    features = _features(network, test[0])
    labels = head.predict((features.reshape(-1, features.shape[-1]) - mean) / scale).reshape(features.shape[:3])
    truth, mine = _shrink(test[1], network.output_shape), test[2] == domain
    counted = truth[mine] != IGNORE
    return {"test": labels, "accuracy": float((labels[mine] == truth[mine])[counted].mean())}


def _features(network, images):
    return network.predict(images.astype("float32"), batch_size=16, verbose=0)


def _shrink(masks, shape):
    step = masks.shape[1] // shape[1]
    return masks[:, step // 2 :: step, step // 2 :: step]


def _correlations(signals):
    """Rank correlation of every signal with the oracle."""
    from scipy.stats import spearmanr

    return {name: float(spearmanr(values, signals["oracle"]).statistic) for name, values in signals.items()}


def _report(results):
    curves, heads = results["curves"], results["heads"]
    none, every = curves["gate"][0], curves["gate"][-1]
    rows = [
        "# Should disagreement decide who runs both experts?",
        "",
        "Written by `benchmarks/segmentation_escalation.py` from the published weights of "
        "`segmentation_sparse_camvid`; CamVid test set, 233 "
        "images at 120x160. The signals are described at the top of that file. One expert for everyone has an mIoU of "
        f"{none['miou']:.2%} at {none['macs'] / 1e6:.0f} M MACs, both for everyone {every['miou']:.2%} at "
        f"{every['macs'] / 1e6:.0f} M.",
        "",
        "mIoU, and MACs where they differ from the gate's, when the share of images that is highest in a signal runs "
        "both experts:",
        "",
        f"| signal | {' | '.join(f'{share:.0%}' for share in SHARES)} | rank correlation with the gain |",
        "|---" * (len(SHARES) + 2) + "|",
    ]
    for name, points in curves.items():
        macs = [f", {p['macs'] / 1e6:.0f} M" if name == "gate" or name in heads else "" for p in points]
        cells = [f"{p['miou']:.2%}{m}" for p, m in zip(points, macs, strict=True)]
        rows.append(f"| {name} | {' | '.join(cells)} | {results['correlation'][name]:+.2f} |")
    rows += ["", "Pixels right:", "", f"| signal | {' | '.join(f'{share:.0%}' for share in SHARES)} |"]
    rows.append("|---" * (len(SHARES) + 1) + "|")
    for name, points in curves.items():
        rows.append(f"| {name} | " + " | ".join(f"{p['accuracy']:.2%}" for p in points) + " |")
    rows += ["", *(_head_sentence(name, head, results) for name, head in heads.items()), "", _verdict(results)]
    return "\n".join([*rows, "", "![mIoU against MACs](escalation.png)", ""])


def _head_sentence(name, head, results):
    day, dusk = head["accuracy"]
    cost_of_all = head["layers"] + 2 * head["head"]
    return (
        f"- {name}: the heads are right on {day:.1%} of the pixels by day and {dusk:.1%} at dusk, each in its own "
        f"domain; the other expert's shallow layers and both heads cost every image {_millions(cost_of_all)} MACs, "
        f"{cost_of_all / results['more']:.1%} of an expert."
    )


def _verdict(results):
    curves, heads, correlation = results["curves"], results["heads"], results["correlation"]
    best = {name: max(points, key=lambda p: p["miou"]) for name, points in curves.items()}
    shallow = max(heads, key=lambda name: best[name]["miou"])
    pixels = {name: max(p["accuracy"] for p in curves[name]) for name in ("gate", shallow, "oracle")}
    none = curves["gate"][0]
    wins = sum(
        p["miou"] > g["miou"] for name in heads for p, g in zip(curves[name][1:-1], curves["gate"][1:-1], strict=True)
    )
    return (
        f"At its best share the gate gives {_best(best['gate'])}, {shallow} gives {_best(best[shallow])}, nobody "
        f"escalating {_best(none)}. At equal shares the shallow signals are ahead of the gate in {wins} of "
        f"{len(heads) * (len(SHARES) - 2)} cases, at more MACs in all of them. Pixels right go from "
        f"{none['accuracy']:.2%} to at best {pixels['gate']:.2%} by the gate, {pixels[shallow]:.2%} by {shallow} and "
        f"{pixels['oracle']:.2%} by the oracle: there is little to win by running both. The gate's doubt orders the "
        f"images by what is won with a rank correlation of {correlation['gate']:+.2f}, {shallow} with "
        f"{correlation[shallow]:+.2f}. So the model has no such signal: `drop_below` is on the gate alone. One seed; "
        "differences of a tenth of a point of mIoU say nothing."
    )


def _best(point):
    return f"{point['miou']:.2%} ({point['share']:.0%} run both, {_millions(point['macs'])} MACs)"


def _millions(macs):
    return f"{macs / 1e6:.0f} M"


def _plot(curves):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.2), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        style = ":" if name in ("oracle", "deep, free of charge") else "-"
        axes.plot([p["macs"] / 1e6 for p in points], [100 * p["miou"] for p in points], f".{style}", label=name)
    axes.set(xlabel="MACs per image, millions", ylabel="mIoU on the test set, %")
    axes.set_title("CamVid: escalating to both experts by different signals (dotted: not to be had at that cost)")
    axes.title.set_fontsize(11)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


if __name__ == "__main__":
    main()
