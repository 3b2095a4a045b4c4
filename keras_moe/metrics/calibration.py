"""Calibration of confidence, in equal bins."""

import numpy as np
import numpy.typing as npt

from keras_moe.checks import check, integer


def confidence_bins(confidence: npt.ArrayLike, bins: int = 15) -> np.ndarray:
    """The bin of each confidence: bin i holds those in ``(i / bins, (i + 1) / bins]``, the first one 0 too.

    Args:
        confidence: floats in [0, 1], of any shape.
        bins: int >= 1.

    Returns:
        int array of the same shape, in ``0…bins - 1``.

    Raises:
        ValueError: ``bins`` that are no int >= 1, or confidences outside [0, 1].

    Example:
        >>> metrics.confidence_bins([0.0, 0.25, 0.26, 1.0], bins=4)
        array([0, 0, 1, 3])
    """
    bins = integer("confidence_bins", "bins", bins, 1)
    confidence = np.asarray(confidence, "float64")
    is_share = np.all((confidence >= 0) & (confidence <= 1.001))  # rounding may lead beyond 1; NaN is no share
    check("confidence_bins", "confidence", confidence[:3], is_share, "in [0, 1]")
    upper: np.ndarray = np.ceil(confidence * bins)
    bin_of_each: np.ndarray = np.clip(upper.astype(int) - 1, 0, bins - 1)
    return bin_of_each


def expected_calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 15) -> float:
    """Expected calibration error (ECE): the mean gap between confidence and accuracy.

    The gap of a bin of confidence is weighted by the predictions in it.

    Args:
        confidence: floats in [0, 1], of any shape: the largest probability of each prediction.
        correct: bool, the same shape.
        bins: int >= 1.

    Returns:
        float in [0, 1]; NaN for no predictions.

    Raises:
        ValueError: ``bins`` that are no int >= 1, confidences outside [0, 1], or not as many of both.

    Example:
        Two predictions of 0.75, of which one is right: 0.25 apart.

        >>> metrics.expected_calibration_error([0.75, 0.75], [True, False])
        0.25
    """
    bins = integer("expected_calibration_error", "bins", bins, 1)
    confidence, correct = np.ravel(confidence).astype("float64"), np.ravel(correct).astype("float64")
    check(
        "expected_calibration_error", "correct", correct.shape, correct.shape == confidence.shape, "one per confidence"
    )
    if len(confidence) == 0:
        return float("nan")
    gaps = np.bincount(confidence_bins(confidence, bins), confidence - correct, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))
