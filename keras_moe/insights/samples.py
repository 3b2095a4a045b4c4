"""Images for insights: ``Samples``."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Samples:
    """Images and what they show.

    Attributes:
        images: ``(n, h, w, c)`` in [0, 255].
        labels: int ``(n,)`` in the order of the card's classes, or masks ``(n, h, w)`` with 255 where there is no
            label, or None where nobody knows.
        source: what the images are, in words.
        problems: messages on files that could not be read.
        groups: str ``(n,)``, to which kind each image belongs, such as day or dusk; or None.

    Example:
        >>> insights.Samples(np.zeros((2, 8, 8, 1)), np.array([3, 7]), "two digits").labels
        array([3, 7])
    """

    images: np.ndarray
    labels: np.ndarray | None
    source: str
    problems: tuple[str, ...] = ()
    groups: np.ndarray | None = None
