"""Accuracy on photographs against executed MACs as the knob of a mixture turns, and what its networks know alone.

    KERAS_BACKEND=tensorflow python -m benchmarks.photo_curves

``benchmarks.photos`` draws the curves and has the table, too. Early exit: the threshold of ``single_gated_photos``, of
two experts the gate's first runs where the base is unsure. One knob: the same weights under the rule ``"product"`` with
``top_k=2``, so that one threshold says whether none, one or both experts run. Dynamic k: ``drop_below`` of
``hydranet_photos``.
"""

import functools

import numpy as np

from benchmarks import without_options
from keras_moe import zoo
from keras_moe.datasets import photos
from keras_moe.images import resized
from keras_moe.training.anytime import curve_of_outputs, outputs_of_networks

SINGLE, HYDRA, DENSE = "single_gated_photos", "hydranet_photos", "efficientnet_lite0_photos"
DROPS = (0.0, 0.2, 0.3, 0.4, 0.5)  # of two weights the smaller is at most a half


def main():
    without_options(__doc__)
    print(table(curves()))


def table(found):
    """What each network in ``single_gated_photos`` knows alone, and points of the curves ``found``: Markdown."""
    rows = ["| on the test photographs | accuracy | MACs |", "|---|---|---|"]
    rows += [f"| {name} | {accuracy:.2%} | {macs / 1e6:.1f} M |" for name, macs, accuracy in alone()]
    for name, curve in found.items():
        for words, (macs, accuracy) in _marked(curve, zoo.card(DENSE).metrics[0].value).items():
            rows.append(f"| {name}: {words} | {accuracy:.2%} | {macs / 1e6:.1f} M |")
    return "\n".join(rows) + "\n"


def curves():
    """Dict, words -> list of ``(MACs, accuracy)``, the cheapest first; of the mixtures that are published."""
    published = zoo.list_models("*_photos")
    found = {}
    if SINGLE in published:
        _, outputs = _single_gated()
        both = {"rule": "product", "top_k": 2, "threshold": 0.0}
        for words, options in (("early exit", {}), ("early exit and dynamic k, one knob", both)):
            model = zoo.load(SINGLE, classifier_activation=None, **options)
            points = curve_of_outputs(model, outputs, _test_photographs()[1])
            found[f"{SINGLE}, {words}"] = sorted((point.macs, point.quality) for point in points)
    if HYDRA in published:
        found[f"{HYDRA}, dynamic k"] = sorted(_dynamic_k(zoo.load(HYDRA)))
    return found


def alone():
    """Rows ``(words, MACs, accuracy)`` of the networks in ``single_gated_photos``, each on every photograph."""
    (macs, outputs), (_, labels) = _single_gated(), _test_photographs()
    yield "its base alone", macs["base"], _accuracy(outputs["base"], labels)
    experts = np.moveaxis(outputs["experts"], 1, 0)
    for k, logits in enumerate(experts):
        yield f"expert {k} alone", macs["experts"][k], _accuracy(logits, labels)
    chosen = experts[outputs["gate_logits"].argmax(-1), np.arange(len(labels))]
    yield "the gate's expert alone", macs["experts"][0], _accuracy(chosen, labels)
    yield (
        "base and both experts",
        macs["base"] + sum(macs["experts"]),
        _accuracy(outputs["base"] + experts.mean(0), labels),
    )


def _dynamic_k(model):
    images, labels = _test_photographs()
    for drop in DROPS:
        model.drop_below = drop
        predictions, route = model.predict_routed(images, batch_size=64)
        yield model.mean_macs(route=route), _accuracy(predictions, labels)


def _marked(curve, accuracy):
    """Words -> a point: the cheapest as accurate as another network, and the best."""
    marks = {"the best": max(curve, key=lambda point: (point[1], -point[0]))}
    as_good = [point for point in curve if point[1] >= accuracy]
    return {"as accurate as the dense network": as_good[0], **marks} if as_good else marks


def _accuracy(predictions, labels):
    return float(np.mean(predictions.argmax(-1) == labels))


@functools.cache
def _single_gated():
    """Multiply-accumulates by part, and what every network of the published mixture says of the test photographs."""
    model = zoo.load(SINGLE, classifier_activation=None)
    return model.macs_by_part(), outputs_of_networks(model, _test_photographs()[0])


@functools.cache
def _test_photographs():
    images, labels = photos("test")
    return resized(images, zoo.card(DENSE).input.shape[0]), labels


if __name__ == "__main__":
    main()
