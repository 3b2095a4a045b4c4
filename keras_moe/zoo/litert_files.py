"""LiteRT files of a published model, measured by its own metric on its test split and pinned in its card.

    KERAS_BACKEND=tensorflow python -m keras_moe.zoo.litert_files hydranet_cifar100 [--files routed_int8.tflite …]

int8 is calibrated with training images. A file that loses more than ``Trial.bound``, or that would take the model's
folder beyond what one may hold, is not kept. Run it after the model was published anew.
"""

import argparse
import collections.abc
import dataclasses

import numpy as np

from keras_moe import zoo
from keras_moe.datasets import camvid, cifar100, kvasir, photos, super_resolution
from keras_moe.export import LiteRTModel, ParityError, litert
from keras_moe.images import resized
from keras_moe.metrics import confusion_matrix, dice, mean_iou
from keras_moe.super_resolution import luma, psnr
from keras_moe.training.patches import cut_patches
from keras_moe.zoo.model_card import Metric, write_card
from keras_moe.zoo.publish import pinned
from keras_moe.zoo.store import published_folder
from keras_moe.zoo.super_resolution import PATCH, photograph_patches

MOST = 30e6  # bytes of a model's files

# float16 is how the weights are published, and what decides the route is in float32 there: half the space, same routes.
ROUTED = {f"routed_{q}.tflite": {"quantize": q} for q in ("float16", "dynamic", "int8")}
INTEGERS = {"parts_int8.json": {"quantize": "int8", "form": "parts"}}
PARTS = INTEGERS | {"parts_float16.json": {"quantize": "float16", "form": "parts"}}


@dataclasses.dataclass(frozen=True)
class Trial:
    """How the files of a model are calibrated and measured.

    Args:
        learn, test: images to calibrate with, and to measure on.
        metric, unit: what is measured.
        quality: ``predictions of test -> float``, the larger the better.
        bound: what a file may lose against Keras.
    """

    learn: np.ndarray
    test: np.ndarray
    metric: str
    quality: collections.abc.Callable
    bound: float = 0.005
    unit: str = ""


def _cifar100(card):
    (learn, _), (test, labels) = cifar100()
    return Trial(learn[:1000], test, "accuracy", lambda found: np.mean(found.argmax(-1) == labels))


def _camvid(card):
    test, masks, _ = camvid("test")
    learn = camvid("train")[0]
    return Trial(learn, test, "miou", lambda found: mean_iou(confusion_matrix(masks, found.argmax(-1), 11)))


def _kvasir(card):
    test, masks = kvasir("test")
    return Trial(kvasir("train")[0][:300], test, "dice", lambda found: dice(masks, found.argmax(-1)))


def _photos(card):
    size = card.input.shape[0]
    learn, (test, labels) = photos("train")[0][::150], photos("test")
    return Trial(
        resized(learn, size), resized(test, size), "accuracy", lambda found: np.mean(found.argmax(-1) == labels), 0.01
    )


def _photographs(card):
    """PSNR over all the luma of Set14's patches, since a file takes one patch."""
    scale = card.config["scale"]
    learn, (test, wanted) = photograph_patches(scale)[1][0], cut_patches(super_resolution("set14"), scale, PATCH, PATCH)

    def quality(found):
        ours, theirs = (luma(np.clip(p, 0, 255)).reshape(-1, scale * PATCH) for p in (found, wanted))
        return psnr(ours, theirs)

    return Trial(learn, test, "psnr_y_set14_patches", quality, bound=0.3, unit="dB")


TRIALS = {
    "CIFAR-100": _cifar100,
    "photos": _photos,
    "CamVid, 11 classes, 120x160": _camvid,
    "Kvasir-SEG": _kvasir,
    "BSD400 + T91": _photographs,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=[name for name in zoo.list_models() if zoo.card(name).data.name in TRIALS])
    parser.add_argument("--files", nargs="+", choices=[*ROUTED, *PARTS], help="these alone; by default all")
    arguments = parser.parse_args()
    card = zoo.card(arguments.name)
    model, folder, trial = zoo.load(card.name), published_folder() / card.name, TRIALS[card.data.name](card)
    for old in (*folder.glob("*.tflite"), *folder.glob("parts_*.json")):
        old.unlink()
    reference = float(trial.quality(model.predict(trial.test, batch_size=16, verbose=0)))
    print(f"{card.name}: Keras {trial.metric} {reference:.4f}")
    files = [file for file in card.files if file.name.endswith(".safetensors")]
    metrics = [metric for metric in card.metrics if not metric.name.endswith((".tflite", ".json"))]
    for name, options in _wanted(model).items():
        if name not in (arguments.files or _wanted(model)):
            continue
        made, metric = _made(card, model, folder / name, options, trial, reference)
        if metric is None:
            continue
        kept = metric.value >= reference - trial.bound and sum(file.size for file in (*files, *made)) < MOST
        print(f"{name}: {metric.text()}; {metric.note}{'' if kept else '; NOT KEPT'}", flush=True)
        if kept:
            files += made
            metrics.append(metric)
        else:
            for file in made:
                (folder / file.name).unlink()
    write_card(dataclasses.replace(card, files=tuple(files), metrics=tuple(metrics)), folder / "card.toml")


def _made(card, model, path, options, trial, reference):
    """The files of one form and what it is worth: ``([File, …], Metric)``; ``([], None)`` if it does not agree."""
    try:
        report = litert(model, path, representative_dataset=trial.learn, images=trial.test, card=card, **options)
    except ParityError as error:
        print(f"{path.name}: not kept. {error}")
        return [], None
    path.with_suffix(".report.json").unlink()
    predictions, route = LiteRTModel(path).predict_routed(trial.test)
    value, note = round(float(trial.quality(predictions)), 6), _note(report, route, trial, reference)
    metric = Metric(
        f"{trial.metric} of {path.name}", value, "test", card.metrics[0].seeds[:1], (value,), note, trial.unit
    )
    return [pinned(path.parent / name) for name in report["files"]], metric


def _wanted(model):
    """File name -> arguments of ``litert``. Without experts parts are worth having for their int8 border alone."""
    return ROUTED | (PARTS if model.bank else INTEGERS)


def _note(report, route, trial, reference):
    parity = report["parity"]
    keras = Metric("", reference, "", (0,), (reference,), unit=trial.unit).text()
    note = f"{report['bytes']:,} bytes; Keras {keras}"
    if not trial.unit:
        note += f"; on {parity['images']:,} test images the same class for {parity['prediction_agreement']:.1%}"
    if route is None:
        return note
    kept = ", trunk in float" if report["gate"] == "float" else ""
    return f"{note}, the same experts for {parity['routing_agreement']:.1%}{kept}"


if __name__ == "__main__":
    main()
