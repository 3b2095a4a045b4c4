"""A stratified split of files that keeps groups of them together: identical files, and pictures that look alike."""

import collections
from collections.abc import Sequence

import numpy as np

from keras_moe.datasets.files.inspection import Facts
from keras_moe.datasets.files.listing import PARTS

NEAR = 7  # bits of 128; eight bands find every pair that differs in so few (one band is equal)
_BANDS = 8
_LARGEST = 2000  # how far apart in the order of a band two looks are compared; nearly empty pictures share bands


def groups_of(facts: Sequence[Facts]) -> np.ndarray:
    """The group of each file, int ``(n,)``: equal or nearly equal pictures share one.

    Args:
        facts: of readable files.
    """
    parent = np.arange(len(facts))
    by_look: dict[bytes | None, int] = {}
    for row, fact in enumerate(facts):
        parent[row] = by_look.setdefault(fact.look, row)  # equal bytes look equal
    rows = np.array(sorted(by_look.values()), "int64")
    if len(rows):
        looks = np.frombuffer(b"".join(facts[row].look or b"" for row in rows), "uint8").reshape(len(rows), 16)
        for a, b in _near(looks):
            _join(parent, rows[a], rows[b])
    return np.array([_root(parent, row) for row in range(len(facts))], "int64")


def same_bytes(facts: Sequence[Facts]) -> list[list[int]]:
    """Rows of files that are equal byte for byte, two or more in each list."""
    by_digest: dict[bytes | None, list[int]] = collections.defaultdict(list)
    for row, fact in enumerate(facts):
        by_digest[fact.digest].append(row)
    return [rows for rows in by_digest.values() if len(rows) > 1]


def split_files(
    labels: np.ndarray, groups: np.ndarray, parts: np.ndarray, shares: dict[str, float], seed: int
) -> np.ndarray:
    """Completes the parts of files: what the data leaves open is drawn class by class, whole groups at a time.

    A class with three groups or more is in every part that is drawn, one with two is learned and tested, one with a
    single group is learned alone.

    Args:
        labels: int ``(n,)``.
        groups: int ``(n,)``, files that stay together.
        parts: ``(n,)``, ``"train"``, ``"val"``, ``"test"``, or ``""`` where it is open. A part that the data has is
            left as it is; one that it lacks is drawn from the open files and those of ``"train"``.
        shares: part -> float, the share of ``"val"`` and ``"test"`` in what they are drawn from.
        seed: int.

    Returns:
        np.ndarray of str ``(n,)``.
    """
    parts = parts.copy()
    missing = [part for part in PARTS[1:] if not np.any(parts == part)]
    parts[parts == ""] = "train"
    rng = np.random.default_rng(seed)
    free = parts == "train"
    free &= ~np.isin(groups, groups[~free])  # beside what the data itself put elsewhere
    owner = dict(zip(groups[free][::-1].tolist(), labels[free][::-1].tolist(), strict=True))  # a group's first label
    owners = np.array([owner.get(group, -1) for group in groups.tolist()])
    for label in np.unique(labels[free]):
        rows = np.flatnonzero(free & (owners == label))
        drawn = rng.permutation(np.unique(groups[rows]))
        sizes = dict.fromkeys(drawn.tolist(), 0)
        for group in groups[rows].tolist():
            sizes[group] += 1
        for part, chosen in _draw(sizes, missing, shares).items():
            parts[rows[np.isin(groups[rows], chosen)]] = part
    return parts


def _near(looks: np.ndarray) -> np.ndarray:
    """Pairs of rows, int ``(m, 2)``, of looks that are near: neighbours and farther ones in the order of each band."""
    pairs = []
    for band in np.split(looks, _BANDS, axis=1):
        keys = band[:, 0].astype("int64") * 256 + band[:, 1]
        order = np.argsort(keys, kind="stable")
        first = np.arange(len(order))
        for apart in range(1, _LARGEST):
            first = first[first + apart < len(order)]
            first = first[keys[order[first]] == keys[order[first + apart]]]
            if not len(first):
                break
            a, b = order[first], order[first + apart]
            near = np.unpackbits(looks[a] ^ looks[b], axis=1).sum(1) <= NEAR
            pairs.append(np.stack([a, b], axis=1)[near])
    return np.concatenate(pairs) if pairs else np.zeros((0, 2), "int64")


def _root(parent: np.ndarray, row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return int(row)


def _join(parent: np.ndarray, a: int, b: int) -> None:
    first, second = sorted((_root(parent, a), _root(parent, b)))
    parent[second] = first


def _draw(sizes: dict[int, int], missing: list[str], shares: dict[str, float]) -> dict[str, list[int]]:
    """Groups for each missing part, the test before validation, of ``sizes``: group -> files, in drawn order."""
    left, total, chosen = dict(sizes), sum(sizes.values()), {}
    for part in sorted(missing):  # "test", "val"
        wanted, taken, count = max(1, round(shares[part] * total)), list[int](), 0
        for group in sorted(left, key=lambda g: sizes[g] > wanted):  # those that fit first
            if (count + sizes[group] <= wanted or not taken) and len(left) > 1:
                taken.append(group)
                count += left.pop(group)
        chosen[part] = taken
    return chosen
