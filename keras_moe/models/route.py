"""Routing weights that know what they are."""

import numpy as np


class Route(np.ndarray):
    """The array of routing weights that ``route`` and ``predict_routed`` give: float32 ``(n, experts)`` and the like.

    It is an array like any other, and what is computed from it is a plain one. Its type tells ``macs`` that it is no
    batch of images, which for vectors the shape may not.
    """

    def __array_wrap__(self, array, context=None, return_scalar=False):
        return np.asarray(array)[()]  # without axes a number, as NumPy itself gives it


def could_be_route(x):
    """Whether each row of ``x`` is of weights >= 0 that sum to one, as a gate gives them, or of zeros and ones."""
    x = np.asarray(x, "float64")
    sums_to_one, of_zeros_and_ones = np.abs(x.sum(-1) - 1) < 1e-3, np.all((x == 0) | (x == 1), axis=-1)
    return bool(np.all(x >= 0) and np.all(sums_to_one | of_zeros_and_ones))
