"""The cut of an axis into overlapping patches, and the weight of each in an overlap."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Cut:
    """An axis cut into patches: ``size`` pixels from each of ``starts``, the first at 0, the last up to the end.

    Neighbours overlap by at least what was asked for; only neighbours overlap.

    Example:
        >>> super_resolution.Cut(size=22, starts=(0, 18)).length
        40
    """

    size: int
    starts: tuple[int, ...]

    @property
    def length(self) -> int:
        """Pixels that are covered, all of them.

        Example:
            >>> super_resolution.Cut(size=22, starts=(0, 18)).length
            40
        """
        return self.starts[-1] + self.size

    def ramps(self, scale: int) -> list[np.ndarray]:
        """Weight of each patch along the axis, enlarged: list of float32 ``(scale * size,)``.

        Linear where two overlap, 1 elsewhere; at every pixel of the axis they sum to one.

        Example:
            >>> first, second = super_resolution.Cut(size=4, starts=(0, 2)).ramps(scale=1)
            >>> first, second
            (array([1.  , 1.  , 0.75, 0.25], dtype=float32), array([0.25, 0.75, 1.  , 1.  ], dtype=float32))
        """
        size, weights = scale * self.size, []
        for i, start in enumerate(self.starts):
            weight = np.ones(size, "float32")
            if i > 0:
                overlap = scale * (self.starts[i - 1] + self.size - start)
                weight[:overlap] = (np.arange(overlap) + 0.5) / max(overlap, 1)
            if i + 1 < len(self.starts):
                overlap = scale * (start + self.size - self.starts[i + 1])
                weight[size - overlap :] = 1 - (np.arange(overlap) + 0.5) / max(overlap, 1)
            weights.append(weight)
        return weights


def cut(length: int, patch: int, overlap: int) -> Cut:
    """Cuts ``length`` pixels evenly into patches of about ``patch``, so that none of them is mostly overlap.

    Args:
        length: int >= 1.
        patch: int, the size to come near to; at least twice ``overlap`` and one more.
        overlap: int >= 0, the least that neighbours share.

    Returns:
        ``Cut``.
    """
    count = max(1, round((length - overlap) / (patch - overlap)))
    size = -(-(length + (count - 1) * overlap) // count)
    spread = np.linspace(0, length - size, count)
    return Cut(size, tuple(int(start) for start in np.floor(spread)))
