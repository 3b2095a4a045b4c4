"""Training behind a frozen trunk: its features are computed once, for several views of each image, and kept on disk.

A trunk that does not learn gives the same features in every epoch. To augment all the same, each image is seen in a few
random views, and an epoch takes one of them.
"""

import concurrent.futures
import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np

from keras_moe.checks import integer, number
from keras_moe.graph import outer_graph, replay
from keras_moe.images import resized
from keras_moe.models.base import MoEModel
from keras_moe.training.augmentation import random_views
from keras_moe.types import Array, Path


def behind(model: MoEModel, layer: str) -> tuple[keras.Model, MoEModel]:
    """``model`` cut in two after one of its own layers, without copying any: the trunk, and the rest.

    Args:
        model: an ``MoEModel`` all of whose later layers read the images through ``layer`` alone.
        layer: name of a layer of ``model``, not of one nested in it.

    Returns:
        ``(trunk, rest)``: a ``keras.Model`` from images to features, and an ``MoEModel`` from features to what
        ``model`` answers, with those of its parts that come after ``layer``. To train ``rest`` is to train ``model``.
    """
    gate = model.gate or {}
    graph = outer_graph(keras.Model(model.inputs, [model.output, *gate.values()]))
    at = graph.index(layer)
    features, later = graph.calls[at].outputs, graph.calls[at + 1 :]
    inputs = keras.Input(features.shape[1:], name="features")
    known = {features: inputs}
    replay(later, known)
    names = {call.name for call in later}
    parts = {part: [layer.name for layer in layers if layer.name in names] for part, layers in model.parts.items()}
    outputs = graph.output if gate else [graph.output]
    output, *gated = [known[t] for t in outputs]
    rest = MoEModel(
        inputs, output, {part: layers for part, layers in parts.items() if layers},
        dict(zip(gate, gated, strict=True)) or None, name=f"{model.name}_behind_{layer}",
    )  # fmt: skip
    return keras.Model(graph.inputs[0], features, name=f"{model.name}_until_{layer}"), rest


def cache_views(
    trunk: keras.Model, images: Array, folder: Path, views: int | None, seed: int = 0, batch_size: int = 64
) -> list[Array]:
    """Features of random views of all images, one float16 file per view; files that are there already are kept.

    Args:
        trunk: model from images ``(n, size, size, 3)`` in [0, 255] to features.
        images: uint8 ``(n, h, w, 3)``.
        folder: for ``view_<v>.npy``; made if need be.
        views: int, how many views of each image; or None: the whole image, resized, in ``whole.npy``.
        seed: int; view v of every image depends on it and on v.
        batch_size: int, images that the trunk sees at once.

    Returns:
        List of read-only arrays ``(n, …)``, memory-mapped.
    """
    views = integer("cache_views", "views", views, 1, or_none=True)
    seed, batch_size = integer("cache_views", "seed", seed, 0), integer("cache_views", "batch_size", batch_size, 1)
    folder, size = pathlib.Path(folder), trunk.input_shape[1]
    folder.mkdir(parents=True, exist_ok=True)
    names = ["whole.npy"] if views is None else [f"view_{v}.npy" for v in range(views)]
    for v, name in enumerate(names):
        if not (folder / name).exists():
            _cache(trunk, images, size, folder / name, None if views is None else seed * 1000 + v, batch_size)
    return [np.load(folder / name, mmap_mode="r") for name in names]


def _cache(
    trunk: keras.Model,
    images: Array,
    size: int,
    path: pathlib.Path,
    seed: int | None,
    batch_size: int,
    chunk: int = 1024,
) -> None:
    def seen(start: int) -> Array:
        some = images[start : start + chunk]
        return resized(some, size) if seed is None else random_views(some, size, seed * 1000 + start // chunk)

    part, run = path.with_suffix(".part"), _fast(trunk)
    features = np.lib.format.open_memmap(part, "w+", "float16", (len(images), *trunk.output_shape[1:]))
    starts = range(0, len(images), chunk)
    with concurrent.futures.ThreadPoolExecutor(1) as ahead:  # the next views are made while these are looked at
        coming = ahead.submit(seen, 0)
        for start, following in zip(starts, [*starts[1:], None], strict=True):
            views = coming.result()
            coming = following and ahead.submit(seen, following)
            for i in range(0, len(views), batch_size):
                batch = views[i : i + batch_size]
                features[start + i : start + i + len(batch)] = run(batch)
    features.flush()
    os.replace(part, path)


def _fast(trunk: keras.Model) -> Callable[[Array], Array]:
    """``trunk.predict``; on TensorFlow with norms that are one operation each, half as fast again on a CPU."""
    if keras.backend.backend() != "tensorflow":
        return lambda images: trunk.predict_on_batch(images)
    import tensorflow as tf

    from keras_moe.layers.dispatch.tensorflow import with_fused_norms

    run = tf.function(with_fused_norms(trunk), input_signature=[tf.TensorSpec(trunk.input_shape, "float32")])
    return lambda images: np.asarray(run(images.astype("float32")))


def square_root_sampling(labels: Array) -> Array:
    """Probabilities with which images are drawn so that a class of four times as many is seen twice as often.

    Between every image and every class alike (Mahajan et al., ECCV 2018, section 2.2).

    Args:
        labels: int array ``(n,)``, at least one.

    Returns:
        float64 array ``(n,)`` of sum one.
    """
    _, of_class, counts = np.unique(labels, return_inverse=True, return_counts=True)
    each = 1 / np.sqrt(counts[of_class])
    return np.asarray(each / each.sum())


Targets = dict[str, Array | list[Array]]


class FeatureBatches(keras.utils.PyDataset):
    """Shuffled batches of cached features; image i is seen in view ``(epoch + a number of its own) % views``.

    Args:
        views: list of arrays ``(n, …)``, as ``cache_views`` gives them.
        targets: dict, output name -> array ``(n, …)``, or a list of one such array for each view.
        batch_size: int. The last, smaller batch is left out: BatchNorm dislikes it.
        seed: int.
        rows: int array ``(m,)``, the images to take; None: all.
        probabilities: float array ``(m,)`` of sum one: ``m`` images are drawn with them in each epoch, each in a random
            view; None: each image once. See ``square_root_sampling``.

    Attributes:
        epoch: int, from 0; advanced by Keras at the end of each epoch.
    """

    def __init__(
        self,
        views: list[Array],
        targets: Targets,
        batch_size: int = 64,
        seed: int = 0,
        rows: Array | None = None,
        probabilities: Array | None = None,
        mixup: float = 0.0,
    ) -> None:
        super().__init__()
        self.batch_size = integer("FeatureBatches", "batch_size", batch_size, 1)
        self.seed = integer("FeatureBatches", "seed", seed, 0)
        self.mixup = number("FeatureBatches", "mixup", mixup)
        self.views, self.targets, self.epoch = views, targets, 0
        self.rows = np.arange(len(views[0])) if rows is None else np.asarray(rows)
        self.probabilities = probabilities
        self.first = np.random.default_rng(self.seed).integers(0, len(views), len(views[0]))

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def __getitem__(self, i: int) -> tuple[Array, dict[str, Array]]:
        batch = slice(i * self.batch_size, (i + 1) * self.batch_size)
        rows, view = (each[batch] for each in self._order())
        features = np.stack([self.views[v][row] for v, row in zip(view, rows, strict=True)]).astype("float32")
        targets = {name: self._targets(target, view, rows) for name, target in self.targets.items()}
        return self._mixed(features, targets, i) if self.mixup else (features, targets)

    def _mixed(self, features: Array, targets: dict[str, Array], i: int) -> tuple[Array, dict[str, Array]]:
        rng = np.random.default_rng((self.seed, self.epoch, i))
        other, share = rng.permutation(len(features)), rng.beta(self.mixup, self.mixup, len(features))
        own = np.maximum(share, 1 - share).astype("float32")

        def mixed(array: Array) -> Array:
            weight = own.reshape(-1, *[1] * (array.ndim - 1))
            if array.dtype.kind in "iu":
                return array
            both: Array = weight * array + (1 - weight) * array[other]
            return both

        return mixed(features), {name: mixed(target) for name, target in targets.items()}

    def _order(self) -> tuple[Array, Array]:
        """Images of this epoch and their views."""
        rng = np.random.default_rng((self.seed, self.epoch))
        if self.probabilities is None:
            rows = rng.permutation(self.rows)
            return rows, (self.epoch + self.first[rows]) % len(self.views)
        rows = rng.choice(self.rows, len(self.rows), p=self.probabilities)
        return rows, rng.integers(0, len(self.views), len(rows))

    def _targets(self, target: Array | list[Array], view: Array, rows: Array) -> Array:
        if isinstance(target, list):
            return np.stack([target[v][row] for v, row in zip(view, rows, strict=True)])
        return np.asarray(target[rows])

    def on_epoch_end(self) -> None:
        self.epoch += 1
