"""Confidence intervals of measured shares."""

import math

from keras_moe.checks import integer

_Z = 1.959964  # of 95 %


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share (Wilson, JASA 1927), which small counts do not lead outside [0, 1].

    Args:
        right: int, how many are right.
        count: int >= 1, of how many.

    Returns:
        ``(low, high)``, floats.

    Raises:
        ValueError: ``right`` not in 0…``count``.

    Example:
        >>> [round(end, 3) for end in metrics.wilson_interval(8, 10)]
        [0.49, 0.943]
    """
    count = integer("wilson_interval", "count", count, 1)
    right = integer("wilson_interval", "right", right, 0, count)
    share, square = right / count, _Z**2 / count
    middle = share + square / 2
    spread = _Z * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return (middle - spread) / (1 + square), (middle + spread) / (1 + square)
