"""Features of the frozen stem for photographs: cached views, and a held-out part that shares no scene with the rest.

The training split was photographed in series: a random part of it would be held out beside near duplicates, and every
figure measured there would flatter. Here the photographs of a class are clustered by what ImageNet's network sees in
them, and whole clusters are held out.
"""

import functools
import pathlib
import typing

import keras
import numpy as np

from keras_moe.channels_last import LAST
from keras_moe.datasets import photos
from keras_moe.models import HydraNet, MoEModel
from keras_moe.training.features import behind, cache_views

CACHE = pathlib.Path("runs", "photos")
CLASSES, VIEWS, VIEW_SEED = 203, 5, 7
HELD_OUT = 0.06  # of each class, about


def dense(size: int, backbone: str = "efficientnet_lite0", split_at: int = 3, **options: typing.Any) -> HydraNet:
    """The dense network as a HydraNet of one branch, so that mixtures and it learn by the same code."""
    return HydraNet(
        (size, size, 3), backbone=backbone, split_at=split_at, num_experts=1, top_k=1, gate_filters=0, classes=CLASSES,
        classifier_activation=None, **options,
    )  # fmt: skip


def photo_features(
    model: MoEModel, count: int = VIEWS, resized_from: int | None = None
) -> tuple[list[np.ndarray], MoEModel]:
    """The stem's features of the training photographs, and the rest of the model.

    Args:
        model: a ``HydraNet`` or ``SingleGatedMoE`` with a named backbone, whose stem or trunk holds the ImageNet
            weights.
        count: int, how many random views of each photograph.
        resized_from: int, sides of photographs that the mixture makes as small as ``model`` takes them; None: they are
            read that small.

    Returns:
        ``(views, rest)``: arrays ``(n, h, w, c)``, the whole photographs and then ``count`` random views of them, kept
        on disk; and what ``keras_moe.training.features.behind`` leaves of ``model``.
    """
    trunk, rest = behind(model, "trunk" if "base" in model.parts else "stem")
    config = model.get_config()
    folder = CACHE / f"{config['backbone']}_{trunk.input_shape[1]}_{config['split_at']}"
    if resized_from:
        folder = folder.with_name(f"{folder.name}_from_{resized_from}")
        images = keras.Input((resized_from, resized_from, 3))
        trunk = keras.Model(images, trunk(keras.ops.image.resize(images, trunk.input_shape[1:3], data_format=LAST)))
    paths = [folder / "whole.npy", *(folder / f"view_{v}.npy" for v in range(count))]
    if not all(path.exists() for path in paths):
        cache_views(trunk, photos("train")[0], folder, count, VIEW_SEED)
    return [np.load(path, mmap_mode="r") for path in paths], rest


@functools.cache
def photo_labels() -> np.ndarray:
    """Labels of the training photographs, read once without them."""
    path = CACHE / "labels.npy"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        np.save(path, photos("train")[1])
    return np.asarray(np.load(path))


@functools.cache
def held_out() -> np.ndarray:
    """bool ``(n,)``, the training photographs from which nothing is learned; kept, since clusters may turn on a bit."""
    path = CACHE / "held_out.npy"
    if not path.exists():
        np.save(path, _held_out_clusters(_imagenet_features(), photo_labels()))
    return np.asarray(np.load(path))


def _imagenet_features() -> np.ndarray:
    """Pooled features of ImageNet's network, rows of length one."""
    views, rest = photo_features(dense(160, include_top=False, pooling="avg", weights="imagenet"), 0)
    features = np.concatenate(
        [rest.predict_on_batch(part.astype("float32")) for part in np.array_split(views[0], len(views[0]) // 256)]
    )
    return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True))


def _held_out_clusters(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Draws clusters of each class, none larger than a quarter of it, until ``HELD_OUT`` of its photographs are out."""
    from sklearn.cluster import AgglomerativeClustering

    rng, held = np.random.default_rng(0), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = max(3, len(rows) // 10)
        cluster = AgglomerativeClustering(count, metric="cosine", linkage="average").fit_predict(features[rows])
        for drawn in rng.permutation(count):
            members = rows[cluster == drawn]
            if held[rows].sum() >= HELD_OUT * len(rows):
                break
            if len(members) <= 0.25 * len(rows):
                held[members] = True
    return held
