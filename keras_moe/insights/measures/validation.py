"""Checks of the arrays from which insights are computed."""

import numpy as np
import numpy.typing as npt


def probabilities(owner: str, name: str, value: npt.ArrayLike) -> np.ndarray:
    """``value`` as an array whose last axis holds probabilities.

    Raises:
        ValueError: empty, not finite, negative, or rows that do not sum to one (as logits do not).
    """
    array = np.asarray(value)
    if array.ndim < 1 or array.size == 0 or array.dtype.kind != "f":
        raise _expected(owner, name, "floats (..., n), at least one row", f"{array.dtype} of shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise _expected(owner, name, "finite", "NaN or infinity")
    if array.min() < 0 or np.abs(array.sum(-1) - 1).max() > 1e-3:
        sums = array.sum(-1)
        received = f"values from {array.min():.3g}, sums from {sums.min():.3g} to {sums.max():.3g}"
        raise _expected(owner, name, "probabilities, >= 0 and summing to one (take the softmax of logits)", received)
    return array


def weights(owner: str, name: str, value: npt.ArrayLike) -> np.ndarray:
    """``value`` as routing weights ``(..., experts)``; rows may be all zero (no expert ran).

    Raises:
        ValueError: no rows, no experts, negative weights or weights that are not finite.
    """
    array = np.asarray(value)
    if array.ndim < 2 or array.size == 0 or array.dtype.kind not in "fiub":
        raise _expected(owner, name, "(..., experts), at least one row", f"{array.dtype} of shape {array.shape}")
    if not np.all(np.isfinite(array)) or array.min() < 0:
        raise _expected(owner, name, "finite weights >= 0", "negative weights, NaN or infinity")
    return array.astype("float64", copy=False)


def _expected(owner: str, name: str, expected: str, received: str) -> ValueError:
    return ValueError(f"{owner}: `{name}` must be {expected}. Received: {received}")
