"""Groups of classes or of images, one for each expert to learn."""

import numpy as np

from keras_moe.checks import integer
from keras_moe.types import Array


def partition_classes(features: Array, labels: Array, groups: int, seed: int = 0) -> Array:
    """Groups classes by balanced k-means over class-mean features (HydraNets, CVPR 2018, section 3.1).

    k-means on the mean feature of each class gives ``groups`` centroids; classes are then assigned so that the sum of
    squared distances is least while no group holds more than ``ceil(classes / groups)``. (The paper's re-implementation
    is greedy, centroid by centroid, which leaves the last centroids the rest; this assignment is optimal.)

    Args:
        features: float array ``(n, d)``: a trained classifier's outputs, logits or embeddings, for n images.
        labels: int array ``(n,)``, every class 0…C-1 present.
        groups: int, number of groups, at most C.
        seed: int, of k-means.

    Returns:
        int64 array ``(C,)``: the group of each class. Groups are numbered by their smallest class.

    Raises:
        ValueError: shapes that do not agree, non-finite features, a class without an image, or too many groups.

    Example:
        >>> features = np.array([[0.0, 0.0], [5.0, 5.0], [0.1, 0.0], [5.0, 5.1]])  # one image of each of four classes
        >>> training.partition_classes(features, labels=np.arange(4), groups=2)
        array([0, 1, 0, 1])
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.cluster import KMeans

    groups, seed = integer("partition_classes", "groups", groups, 1), integer("partition_classes", "seed", seed, 0)
    means = _class_means(np.asarray(features, "float64"), np.asarray(labels))
    if groups > len(means):
        raise ValueError(f"`groups` must be in 1…{len(means)}, the number of classes. Received: groups={groups}")
    centroids = KMeans(groups, n_init=20, random_state=seed).fit(means).cluster_centers_
    capacity = -(-len(means) // groups)
    distance = ((means[:, None] - centroids[None]) ** 2).sum(-1)
    _, seats = linear_sum_assignment(np.repeat(distance, capacity, axis=1))
    return _numbered_by_smallest(seats // capacity)


def partition_samples(embeddings: Array, groups: int, seed: int = 0) -> tuple[Array, Array]:
    """Groups images by k-means over their embeddings, image by image (single-gated MoE, BMVC 2022; poster, step 2).

    Args:
        embeddings: float array ``(n, d)``, of a trained base.
        groups: int, number of groups.
        seed: int, of k-means.

    Returns:
        ``(centroids, group)``: float32 ``(groups, d)`` and int64 ``(n,)``, the index of each image's nearest centroid.

    Raises:
        ValueError: shapes that do not agree, non-finite embeddings, or more groups than the embeddings have clusters.

    Example:
        >>> centroids, group = training.partition_samples(np.array([[1.0], [1.5], [9.0]]), groups=2)
        >>> sorted(centroids.ravel().tolist())
        [1.25, 9.0]
        >>> bool(group[0] == group[1] != group[2])
        True
    """
    from sklearn.cluster import KMeans

    groups, seed = integer("partition_samples", "groups", groups, 1), integer("partition_samples", "seed", seed, 0)
    embeddings = np.asarray(embeddings, "float64")
    if embeddings.ndim != 2 or not np.all(np.isfinite(embeddings)):
        raise ValueError(f"Expected finite embeddings (n, d). Received: shape {embeddings.shape}, or NaN or infinity.")
    if groups > (distinct := _distinct(embeddings, groups)):
        raise ValueError(
            f"`groups` must be in 1…{distinct}, the number of distinct embeddings. Received: groups={groups}"
        )
    clusters = KMeans(groups, n_init=3, random_state=seed).fit(embeddings)
    empty = np.flatnonzero(np.bincount(clusters.labels_, minlength=groups) == 0)
    if len(empty):
        raise ValueError(f"k-means left {len(empty)} of {groups} groups empty; ask for at most {groups - len(empty)}.")
    return clusters.cluster_centers_.astype("float32"), clusters.labels_.astype("int64")


def _distinct(embeddings: Array, most: int) -> int:
    """The number of embeddings that differ by more than float32's rounding, up to ``most``; farthest first."""
    rounding = 1e-5 * np.linalg.norm(embeddings, axis=1).max(initial=0)
    distance = np.full(len(embeddings), np.inf)
    for count in range(min(most, len(embeddings))):
        farthest = distance.argmax()
        if distance[farthest] <= rounding:
            return count
        distance = np.minimum(distance, np.linalg.norm(embeddings - embeddings[farthest], axis=1))
    return min(most, len(embeddings))


def _class_means(features: Array, labels: Array) -> Array:
    if features.ndim != 2 or labels.shape != features.shape[:1] or len(labels) == 0:
        raise ValueError(
            f"Expected features (n, d) and labels (n,). Received: shapes {features.shape} and {labels.shape}"
        )
    if not np.all(np.isfinite(features)):
        raise ValueError("`features` must be finite. Received: NaN or infinity among them.")
    counts = np.bincount(labels)
    if not counts.all():
        raise ValueError(
            f"Every class needs an image. Received: none of classes {np.flatnonzero(counts == 0).tolist()}"
        )
    sums = np.zeros((len(counts), features.shape[1]))
    np.add.at(sums, labels, features)
    means: Array = sums / counts[:, None]
    return means


def _numbered_by_smallest(groups: Array) -> Array:
    order = {g: i for i, g in enumerate(dict.fromkeys(groups.tolist()))}
    return np.array([order[g] for g in groups.tolist()], "int64")
