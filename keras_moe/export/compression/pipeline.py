"""Pruning, weight clustering and quantization-aware training of Keras 3 models, by tensorflow-model-optimization.

That library knows Keras 2 only. So the work is done in a process of its own, on TensorFlow whatever the backend here:
what is to be compressed is transcribed into ``tf_keras`` (``tf_keras_clone``), fine-tuned with everything
else frozen, stripped, and its weights come back. Weights and data travel as safetensors, settings as JSON.
"""

import dataclasses
import functools
import json
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np

from keras_moe.checks import check, flag, integer, number, require
from keras_moe.export.tensorflow_process import environment
from keras_moe.graph import is_functional
from keras_moe.layers import ExpertBank
from keras_moe.models.base import MoEModel
from keras_moe.weights import load_weights, save_weights, write_tensors

METHODS = ("prune", "cluster", "qat")

_check = functools.partial(check, "compress")


@dataclasses.dataclass(frozen=True)
class Compressed:
    """What ``compress`` returns.

    Attributes:
        logs: list of dicts of floats, one per epoch.
        files: dict, name of a network that was compressed -> bytes of its ``.tflite`` file, integers all through, int8
            in and out, batch 1. Of ``method="qat"`` only.
    """

    logs: list
    files: dict


def compress(
    model,
    train,
    method,
    parts=None,
    sparsity=0.75,
    clusters=16,
    epochs=1,
    batch_size=128,
    learning_rate=1e-3,
    augment=True,
    seed=0,
    verbose=1,
):
    """Makes a trained classifier smaller, by fine-tuning under a constraint.

    - ``"prune"``: the smallest weights of each kernel become zeros, more and more of them over the first half of the
      training (Zhu and Gupta, 2017); the file shrinks when it is compressed.
    - ``"cluster"``: each kernel keeps at most ``clusters`` distinct values; likewise.
    - ``"qat"``: quantization-aware training. The forward pass rounds as int8 will (Jacob et al., CVPR 2018).

    Of a plain network all is compressed; of a mixture each expert by itself, behind a frozen trunk and gate, on the
    images that the gate sends it. Kernels are compressed, those of depthwise convolutions in ``"qat"`` only. The
    weights of ``model`` are replaced at the end; until then, and when anything fails, it stays as it was.

    Needs ``pip install "keras-moe[tfmot]"``.

    Args:
        model: an ``MoEModel``, or a functional classifier of your own; images to ``(n, classes)``. Its layers compute
            in float32.
        train: ``(images, labels)``: ``(n, h, w, c)``, in the range that the model takes, and int ``(n,)``.
        method: ``"prune"``, ``"cluster"`` or ``"qat"``.
        parts: names of the model's parts to compress, such as ``("experts",)``; None: all of a plain network, as one;
            the experts of a mixture. The functional networks in a part are compressed each by itself.
        sparsity: float in (0, 1), share of zeros in each pruned kernel.
        clusters: int >= 2, distinct values in each clustered kernel. Smaller kernels are left as they are.
        epochs: int >= 1.
        batch_size: int >= 1, at most the number of images.
        learning_rate: float > 0, Adam's, at the start of a cosine to 0.
        augment: bool, flip the images, and crop them after padding by 4 pixels.
        seed: int, of the order of the images and of their augmentation.
        verbose: 0 or 1, progress.

    Returns:
        A ``Compressed``.

    Raises:
        ValueError: an argument out of range, an expert that none of the images reaches, a layer that has no twin or
            that cannot be quantized, named.
        ImportError: tensorflow-model-optimization or tf_keras is not installed.
        RuntimeError: the process that trains failed; the message ends with what it said.
    """
    images, labels = (np.asarray(a) for a in train)
    _check("method", method, method in METHODS, f"one of {METHODS}")
    sparsity = number("compress", "sparsity", sparsity, above=0, below=1)
    clusters, epochs = integer("compress", "clusters", clusters, 2), integer("compress", "epochs", epochs, 1)
    learning_rate = number("compress", "learning_rate", learning_rate, above=0)
    augment, seed = flag("compress", "augment", augment), integer("compress", "seed", seed, 0)
    _check_data(model, images, labels)
    batch_size = integer("compress", "batch_size", batch_size, 1, len(images))
    _check("augment", augment, not augment or images.ndim == 4, "False for inputs that are not images (n, h, w, c)")
    names = networks(model, parts)
    require("compress", "tfmot", "tensorflow_model_optimization", "tf_keras")
    _check_reached(model, names, images)
    settings = {
        "method": method, "sparsity": sparsity, "clusters": clusters, "epochs": epochs, "batch_size": batch_size,
        "learning_rate": learning_rate, "augment": augment, "seed": seed,
    }  # fmt: skip
    job = {**settings, "networks": names, "model": keras.saving.serialize_keras_object(model)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        (folder / "job.json").write_text(json.dumps(job))
        save_weights(model, folder / "weights.safetensors")
        write_tensors(folder / "train.safetensors", {"images": images, "labels": labels})
        logs = _run(folder, epochs * (len(images) // batch_size), verbose)
        load_weights(model, folder / "compressed.safetensors")
        return Compressed(logs, {path.stem: path.read_bytes() for path in sorted(folder.glob("*.tflite"))})


def networks(model, parts=None):
    """Names of the top-level layers that are compressed; None: the whole model, as one network.

    Raises:
        ValueError: not a functional model, unknown parts, or parts without a network that could be compressed.
    """
    mixture = isinstance(model, MoEModel)
    if not mixture and (parts is not None or not is_functional(model)):
        raise ValueError(
            "compress: expected an MoEModel, or a functional or Sequential model, and then no `parts`. Received: "
            f"{type(model).__name__}, parts={parts!r}"
        )
    if parts is None and (not mixture or model.bank is None):
        return None
    if parts is None:
        parts = [part for part, layers in model.parts.items() if model.bank in layers]
    known = sorted(model.parts)
    _check("parts", parts, not isinstance(parts, str) and set(parts) <= set(known), f"None or some of {known}")
    chosen = [layer for part in parts for layer in model.parts[part]]
    found = [layer.name for layer in chosen if isinstance(layer, ExpertBank) or is_functional(layer)]
    _check("parts", parts, found, "parts that hold a functional network with weights")
    return found


def _check_data(model, images, labels):
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        raise ValueError(f"compress: expected a classifier, images to (n, classes). Received: {model.name!r}")
    wanted = tuple(model.inputs[0].shape[1:])
    fits = images.ndim == len(wanted) + 1 and all(w in (None, s) for w, s in zip(wanted, images.shape[1:], strict=True))
    if not fits or not np.all(np.isfinite(images)):
        raise ValueError(
            f"compress: expected finite images (n, {', '.join(map(str, wanted))}). Received: shape {images.shape}"
        )
    classes = model.outputs[0].shape[-1]
    whole = labels.shape == (len(images),) and labels.dtype.kind in "iu"
    if not whole or not np.all((labels >= 0) & (labels < classes)):
        raise ValueError(
            f"compress: expected one integer label in 0…{classes - 1} per image. Received: {len(images)} images and "
            f"labels of shape {labels.shape}, {labels.dtype}"
        )


def _check_reached(model, names, images):
    """An expert without images would be compressed, and its ranges for int8 guessed, from nothing."""
    if names is None or model.bank is None or model.bank.name not in names:
        return
    chosen = np.any(model.route(images) != 0, axis=0)
    idle = [expert.name for expert, some in zip(model.bank.experts, chosen, strict=True) if not some]
    if idle:
        raise ValueError(f"compress: the gate sends none of the {len(images)} images to {idle}. Give more images.")


def _run(folder, steps, verbose):
    """Runs the worker on ``folder``; shows its progress; returns its logs."""
    # Both libraries warn of their own age: not this program's affair.
    command = [sys.executable, "-W", "ignore", "-m", "keras_moe.export.compression.worker", str(folder)]
    bar, logs = keras.utils.Progbar(steps, verbose=verbose, stateful_metrics=("loss", "accuracy")), []
    with (
        open(folder / "errors", "wb") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=environment(), encoding="utf-8", errors="replace"
        ) as worker,
    ):
        try:
            for line in worker.stdout or ():
                said = json.loads(line)
                if "step" in said:
                    bar.update(said["step"], list(said["logs"].items()), finalize=said["step"] == steps)
                else:
                    logs.append(said["logs"])
        except BaseException:
            worker.kill()
            raise
    if worker.returncode == 0:
        return logs
    if (folder / "refused").exists():
        raise ValueError((folder / "refused").read_text("utf-8"))
    said = (folder / "errors").read_text(encoding="utf-8", errors="replace")[-2000:]
    raise RuntimeError(f"compress: the process that trains ended with code {worker.returncode}. It said:\n{said}")
