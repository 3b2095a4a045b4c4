"""A stratified split that keeps groups of files together."""

import numpy as np

from keras_moe.datasets.files.listing import PARTS


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
