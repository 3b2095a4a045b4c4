"""Groups of identical files and of pictures that look alike, which must stay in one part of the data."""

import collections
from collections.abc import Sequence

import numpy as np

from keras_moe.datasets.files.inspection import Facts

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
