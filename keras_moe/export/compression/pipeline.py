"""Pruning, weight clustering and quantization-aware training of Keras 3 models, by tensorflow-model-optimization.

That library knows Keras 2 only. So the work is done in a process of its own, on TensorFlow whatever the backend here:
what is to be compressed is transcribed into ``tf_keras`` (``tf_keras_clone``), fine-tuned with everything else frozen,
stripped, and its weights come back.
"""

import collections.abc
import dataclasses
import functools
import typing

import keras
import numpy as np

from keras_moe.checks import check, flag, integer, number, require
from keras_moe.export import tensorflow_process
from keras_moe.export.compression.arguments import check_data, check_reached, networks
from keras_moe.types import LabelledImages

METHODS = ("prune", "cluster", "qat")
_WORK = "keras_moe.export.compression.fine_tuning:fine_tune"  # it imports tfmot, which is for that process alone

_check = functools.partial(check, "compress")


@dataclasses.dataclass(frozen=True)
class Compressed:
    """The result of ``compress``.

    Attributes:
        logs: a dict of numbers per epoch.
        files: name of a network that was compressed -> bytes of its ``.tflite`` file, integers all through, int8 in
            and out, batch 1. Of ``method="qat"`` only.

    Example:
        >>> compressed = export.Compressed(logs=[{"loss": 0.7, "accuracy": 0.5}], files={})
        >>> compressed.logs[-1]["accuracy"]
        0.5
    """

    logs: list[dict[str, float]]
    files: dict[str, bytes]


def compress(
    model: keras.Model,
    train: LabelledImages,
    method: str,
    parts: collections.abc.Sequence[str] | None = None,
    sparsity: float = 0.75,
    clusters: int = 16,
    epochs: int = 1,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    augment: bool = True,
    seed: int = 0,
    verbose: int = 1,
) -> Compressed:
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
        sparsity: in (0, 1), share of zeros in each pruned kernel.
        clusters: >= 2, distinct values in each clustered kernel. Smaller kernels are left as they are.
        epochs: >= 1.
        batch_size: >= 1, at most the number of images.
        learning_rate: > 0, Adam's, at the start of a cosine to 0.
        augment: flip the images, and crop them after padding by 4 pixels.
        seed: of the order of the images and of their augmentation.
        verbose: 0 or 1, progress.

    Raises:
        ValueError: an argument out of range, an expert that none of the images reaches, a layer that has no clone or
            that cannot be quantized, named.
        ImportError: tensorflow-model-optimization or tf_keras is not installed.
        RuntimeError: the process that trains failed; the message ends with what it said.

    Example:
        >>> model = models.Classifier((8, 8, 3), 0.25, "resnet8", classes=2)
        >>> images, labels = np.zeros((4, 8, 8, 3), "uint8"), np.array([0, 1, 0, 1])
        >>> compressed = export.compress(model, (images, labels), "prune", batch_size=4)  # doctest: +SKIP
        >>> export.compress(model, (images, labels), "prune", sparsity=2.0)
        Traceback (most recent call last):
        ...
        ValueError: compress: `sparsity` must be a float in (0, 1). Received: sparsity=2.0
    """
    images, labels = (np.asarray(a) for a in train)
    _check("method", method, method in METHODS, f"one of {METHODS}")
    sparsity = number("compress", "sparsity", sparsity, above=0, below=1)
    clusters, epochs = integer("compress", "clusters", clusters, 2), integer("compress", "epochs", epochs, 1)
    learning_rate = number("compress", "learning_rate", learning_rate, above=0)
    augment, seed = flag("compress", "augment", augment), integer("compress", "seed", seed, 0)
    check_data(model, images, labels)
    batch_size = integer("compress", "batch_size", batch_size, 1, len(images))
    _check("augment", augment, not augment or images.ndim == 4, "False for inputs that are not images (n, h, w, c)")
    names = networks(model, parts)
    require("compress", "tfmot", "tensorflow_model_optimization", "tf_keras")
    check_reached(model, names, images)
    arguments = {
        "images": images, "labels": labels, "names": names, "method": method, "sparsity": sparsity,
        "clusters": clusters, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate,
        "augment": augment, "seed": seed,
    }  # fmt: skip
    progress = _Progress(epochs * (len(images) // batch_size), verbose)
    files = tensorflow_process.run(_WORK, model, arguments, on_message=progress, trains=True)
    return Compressed(progress.logs, {name: files[name].tobytes() for name in sorted(files)})


class _Progress:
    """Shows the messages of the process that trains: one per batch and per epoch. ``logs`` are those of the epochs."""

    def __init__(self, steps: int, verbose: int) -> None:
        self.logs: list[dict[str, float]] = []
        self._steps = steps
        self._bar = keras.utils.Progbar(steps, verbose=verbose, stateful_metrics=("loss", "accuracy"))

    def __call__(self, message: dict[str, typing.Any]) -> None:
        if "step" in message:
            step = message["step"]
            self._bar.update(step, list(message["logs"].items()), finalize=step == self._steps)
        else:
            self.logs.append(message["logs"])
