"""What a page is about: ``Samples``."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Samples:
    """Images in [0, 255], ``(n, h, w, c)``, and what they show.

    ``labels`` are int ``(n,)`` in the order of the card's classes, or masks ``(n, h, w)`` with 255 where there is no
    label, or None where nobody knows; ``source`` says in words what they are; ``problems`` lists the files that could
    not be read; ``groups``, str ``(n,)`` or None, says to what kind an image belongs, such as day or dusk.
    """

    images: np.ndarray
    labels: np.ndarray | None
    source: str
    problems: tuple[str, ...] = ()
    groups: np.ndarray | None = None
