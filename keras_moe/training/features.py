"""Training behind a frozen trunk: its features are computed once, for several views of each image, and kept on disk.

A trunk that does not learn gives the same features in every epoch. To augment all the same, each image is seen in a few
random views, and an epoch takes one of them.
"""

import concurrent.futures
import json
import math
import os
import pathlib
import shutil
import typing
from collections.abc import Callable, Iterable, Sequence

import keras
import numpy as np

from keras_moe.batches import epoch_rows
from keras_moe.checks import integer, number
from keras_moe.files import write_bytes
from keras_moe.graph import outer_graph, replay
from keras_moe.images import centred, with_channels
from keras_moe.models.base import MoEModel
from keras_moe.training.augmentation import random_views
from keras_moe.types import Array, Path

Track = Callable[[Iterable[typing.Any], int], Iterable[typing.Any]]
Images = Array | Sequence[Array]
_CHUNK = 128  # images whose views are in memory at once, twice
_DONE = "rows_done.json"


def behind(model: MoEModel, layer: str) -> tuple[keras.Model, MoEModel]:
    """``model`` cut in two after one of its own layers, without copying any: the trunk, and the rest.

    Args:
        model: an ``MoEModel`` all of whose later layers read the images through ``layer`` alone.
        layer: name of a layer of ``model``, not of one nested in it.

    Returns:
        ``(trunk, rest)``: a ``keras.Model`` from images to features, and an ``MoEModel`` from features to what
        ``model`` predicts, with those of its parts that come after ``layer``. To train ``rest`` is to train ``model``.
    """
    gate = model.gate or {}
    graph = outer_graph(keras.Model(model.inputs, [model.output, *gate.values()]))
    at = graph.index(layer)
    features, later = graph.calls[at].outputs, graph.calls[at + 1 :]
    inputs = keras.Input(features.shape[1:], name="features")
    tensors = {features: inputs}
    replay(later, tensors)
    names = {call.name for call in later}
    parts = {part: [layer.name for layer in layers if layer.name in names] for part, layers in model.parts.items()}
    outputs = graph.output if gate else [graph.output]
    output, *gated = [tensors[t] for t in outputs]
    rest = MoEModel(
        inputs, output, {part: layers for part, layers in parts.items() if layers},
        dict(zip(gate, gated, strict=True)) or None, name=f"{model.name}_behind_{layer}",
    )  # fmt: skip
    return keras.Model(graph.inputs[0], features, name=f"{model.name}_until_{layer}"), rest


def cache_views(
    trunk: keras.Model,
    images: Images,
    folder: Path,
    views: int,
    seed: int = 0,
    batch_size: int = 64,
    track: Track = lambda steps, total: steps,
) -> list[Array]:
    """Features of the whole images and of random views of them, one float16 file each.

    Each image is read once. Files that are there already are kept, and a call that was interrupted goes on where it
    was.

    Args:
        trunk: model from images ``(n, size, size, 1 or 3)`` in [0, 255] to features.
        images: uint8 ``(n, h, w, 3)``, or a sequence of such images whose slices are read as they are asked for, such
            as ``datasets.ImageFiles``.
        folder: for ``whole.npy``, the centred squares, and ``view_<v>.npy``; made if need be.
        views: int, how many random views of each image.
        seed: int; view v of every image depends on it and on v.
        batch_size: int, images that the trunk sees at once.
        track: wraps the iteration over ``total`` steps, to show progress.

    Returns:
        List of read-only arrays ``(n, …)``, memory-mapped: the whole images, and each view.

    Raises:
        OSError: the disk has not enough room, and how much it takes.
    """
    views = integer("cache_views", "views", views, 0)
    seed, batch_size = integer("cache_views", "seed", seed, 0), integer("cache_views", "batch_size", batch_size, 1)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    seeds = {"whole.npy": None, **{f"view_{v}.npy": seed * 1000 + v for v in range(views)}}
    missing = {name: view_seed for name, view_seed in seeds.items() if not (folder / name).exists()}
    if missing:
        _cache(trunk, images, folder, missing, batch_size, track)
    return [np.load(folder / name, mmap_mode="r") for name in seeds]


def _cache(
    trunk: keras.Model,
    images: Images,
    folder: pathlib.Path,
    seeds: dict[str, int | None],
    batch_size: int,
    track: Track,
) -> None:
    size, channels, run = trunk.input_shape[1], trunk.input_shape[-1], _fast(trunk)

    def seen(start: int) -> dict[str, Array]:
        some = images[start : start + _CHUNK]
        views = {
            name: centred(some, size) if own is None else random_views(some, size, own, start)
            for name, own in seeds.items()
        }
        return {name: with_channels(view, channels) for name, view in views.items()}

    files, done = _unfinished_files(folder, list(seeds), (len(images), *trunk.output_shape[1:]))
    starts = range(done, len(images), _CHUNK)
    with concurrent.futures.ThreadPoolExecutor(1) as ahead:  # the next views are made while these are looked at
        coming = ahead.submit(seen, done)
        for start, following in track(zip(starts, [*starts[1:], None], strict=True), len(starts)):
            views = coming.result()
            coming = ahead.submit(seen, following) if following is not None else coming
            for name, view in views.items():
                for i in range(0, len(view), batch_size):
                    batch = view[i : i + batch_size]
                    files[name][start + i : start + i + len(batch)] = run(batch)
                files[name].flush()
            write_bytes(folder / _DONE, json.dumps([list(seeds), start + len(view)]).encode())
    for name in seeds:
        os.replace(folder / f"{name}.part", folder / name)
    (folder / _DONE).unlink()


def _unfinished_files(
    folder: pathlib.Path, names: list[str], shape: tuple[int, ...]
) -> tuple[dict[str, np.memmap], int]:
    """The unfinished files, by name, and how many rows of them are done."""
    parts = {name: folder / f"{name}.part" for name in names}
    if (folder / _DONE).exists() and all(part.exists() for part in parts.values()):
        begun, done = json.loads((folder / _DONE).read_text())
        files = {name: np.lib.format.open_memmap(part, "r+") for name, part in parts.items()}
        if begun == names and all(file.shape == shape for file in files.values()):
            return files, done
    needed = len(names) * 2 * math.prod(shape)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(f"cache_views: the features take {needed / 1e9:.1f} GB. {folder} has {free / 1e9:.1f} GB left.")
    (folder / _DONE).unlink(missing_ok=True)
    return {name: np.lib.format.open_memmap(part, "w+", "float16", shape) for name, part in parts.items()}, 0


def _fast(trunk: keras.Model) -> Callable[[Array], Array]:
    """``trunk.predict``; on TensorFlow with norms that are one operation each, half as fast again on a CPU."""
    if keras.backend.backend() != "tensorflow":
        return lambda images: trunk.predict_on_batch(images)
    import tensorflow as tf

    from keras_moe.layers.dispatch.tensorflow import with_fused_norms

    # Concrete, since TensorFlow warns of a function that is made anew for each trunk and called a few times.
    run = tf.function(with_fused_norms(trunk)).get_concrete_function(tf.TensorSpec(trunk.input_shape, "float32"))
    return lambda images: np.asarray(run(tf.constant(images.astype("float32"))))


Targets = dict[str, Array | list[Array]]


class FeatureBatches(keras.utils.PyDataset):
    """Shuffled batches of cached features; image i is seen in view ``(epoch + a number of its own) % views``.

    Args:
        views: list of arrays ``(n, …)``, as ``cache_views`` gives them.
        targets: dict, output name -> array ``(n, …)``, or a list of one such array for each view.
        batch_size: int. The last, smaller batch is left out: BatchNorm dislikes it.
        seed: int.
        rows: int array ``(m,)``, the images to take; None: all.
        weights: float array ``(n,)``, how often each image is taken in proportion to the others, see ``epoch_rows``;
            each time in a random view; None: once.
        mixup: float >= 0: each image is mixed with another of its batch by a share from Beta(mixup, mixup), features
            and float targets alike (Verma et al., Manifold Mixup, ICML 2019); integer targets stay those of the larger
            share. 0: none.

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
        weights: Array | None = None,
        mixup: float = 0.0,
    ) -> None:
        super().__init__()
        self.batch_size = integer("FeatureBatches", "batch_size", batch_size, 1)
        self.seed = integer("FeatureBatches", "seed", seed, 0)
        self.mixup = number("FeatureBatches", "mixup", mixup)
        self.views, self.targets, self.weights, self.epoch = views, targets, weights, 0
        self.rows = np.arange(len(views[0])) if rows is None else np.asarray(rows)
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
        weights = np.maximum(share, 1 - share).astype("float32")

        def mixed(array: Array) -> Array:
            weight = weights.reshape(-1, *[1] * (array.ndim - 1))
            if array.dtype.kind in "iu":
                return array
            both: Array = weight * array + (1 - weight) * array[other]
            return both

        return mixed(features), {name: mixed(target) for name, target in targets.items()}

    def _order(self) -> tuple[Array, Array]:
        """Images of this epoch and their views."""
        rows, count = epoch_rows(self.rows, self.seed, self.epoch, self.weights), len(self.views)
        if self.weights is None:
            return rows, (self.epoch + self.first[rows]) % count
        return rows, np.random.default_rng((self.seed, self.epoch, 0)).integers(0, count, len(rows))

    def _targets(self, target: Array | list[Array], view: Array, rows: Array) -> Array:
        if isinstance(target, list):
            return np.stack([target[v][row] for v, row in zip(view, rows, strict=True)])
        return np.asarray(target[rows])

    def on_epoch_end(self) -> None:
        self.epoch += 1
