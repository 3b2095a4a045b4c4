"""Measures of uncertainty: entropies, variance over experts, calibration, and risk against coverage.

The measures of "MoE uncertainty" (STREAM at ICCV 2025, arXiv 2509.04816), for images and for pixels. Every function
raises ValueError on probabilities that are not finite or do not sum to one, labels out of range, empty arrays and
shapes that differ.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from keras_moe.checks import class_labels, integer, number
from keras_moe.insights.measures import validation
from keras_moe.insights.measures.routing import normalised_entropy
from keras_moe.metrics import confidence_bins, expected_calibration_error


def predictive_entropy(probabilities: npt.ArrayLike) -> np.ndarray:
    """Entropy of predictions divided by ``log classes``.

    Args:
        probabilities: float ``(..., classes)``.

    Returns:
        float ``(...)`` in [0, 1].

    Example:
        >>> insights.predictive_entropy([[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]])
        array([0. , 0.5])
    """
    return normalised_entropy(validation.probabilities("predictive_entropy", "probabilities", probabilities))


def mutual_information(expert_probabilities: npt.ArrayLike, route: npt.ArrayLike | None = None) -> np.ndarray:
    """How much of the mixture's entropy comes from experts that differ: 0 where all say the same.

    Entropy of the experts' weighted mean, less the weighted mean of their entropies, divided by ``log classes``. (The
    source weighs the mean but not the entropies, which can be negative; with equal weights both agree.)

    Args:
        expert_probabilities: float ``(experts, ..., classes)``, of each expert alone.
        route: weights ``(..., experts)``, rows summing to one; None: all equal.

    Returns:
        float ``(...)`` in [0, 1].

    Example:
        Two experts: sure of the same class, and sure of different ones.

        >>> insights.mutual_information([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
        array([0., 1.])
    """
    experts = validation.probabilities("mutual_information", "expert_probabilities", expert_probabilities)
    expected = (*experts.shape[1:-1], len(experts))
    if experts.ndim < 2 or (route is not None and np.shape(route) != expected):
        raise ValueError(
            "mutual_information: expected `expert_probabilities` (experts, ..., classes) and `route`, weights "
            f"(..., experts). Received: {experts.shape} and {None if route is None else np.shape(route)}"
        )
    if route is None:
        route = np.full(expected, 1 / len(experts))
    weights = np.moveaxis(validation.probabilities("mutual_information", "route", route), -1, 0)
    mixed = normalised_entropy((weights[..., None] * experts).sum(0))
    information: np.ndarray = np.maximum(mixed - (weights * normalised_entropy(experts)).sum(0), 0.0)
    return information


def expert_variance(expert_probabilities: npt.ArrayLike, predicted_labels: npt.ArrayLike) -> np.ndarray:
    """Standard deviation over experts of the predicted label's probability, divided by the largest in the arrays.

    Pass one image's pixels, or one set of images: the result compares rows within it.

    Args:
        expert_probabilities: float ``(experts, ..., classes)``, of each expert alone.
        predicted_labels: int ``(...)``, the mixture's.

    Returns:
        float ``(...)`` in [0, 1]; all 0 where the experts never differ.

    Example:
        Of class 0 the experts say 0.75 and 0.25 in the first row, 0.5 and 0.5 in the second.

        >>> insights.expert_variance([[[0.75, 0.25], [0.5, 0.5]], [[0.25, 0.75], [0.5, 0.5]]], [0, 0])
        array([1., 0.])
    """
    experts = validation.probabilities("expert_variance", "expert_probabilities", expert_probabilities)
    shape, classes = experts.shape[1:-1], experts.shape[-1]
    labels = class_labels("expert_variance", "predicted_labels", predicted_labels, shape, classes)
    deviation = np.take_along_axis(experts, labels[None, ..., None], -1)[..., 0].std(0)
    share: np.ndarray = deviation / max(deviation.max(), np.finfo(deviation.dtype).tiny)
    return share


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in equal bins of confidence.

    Attributes:
        count: int ``(bins,)``, predictions in the bin.
        confidence, accuracy: float ``(bins,)``, their means; NaN in an empty bin.
        ece: float in [0, 1], ``metrics.expected_calibration_error``.

    Example:
        >>> insights.reliability([[0.75, 0.25], [0.75, 0.25]], [0, 1], bins=2)  # one of two right
        Reliability(count=array([0, 2]), confidence=array([ nan, 0.75]), accuracy=array([nan, 0.5]), ece=0.25)
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    ece: float


def reliability(probabilities: npt.ArrayLike, labels: npt.ArrayLike, bins: int = 15) -> Reliability:
    """Is a prediction of 80% right in 80% of cases? Bins are those of ``metrics.confidence_bins``.

    Args:
        probabilities: float ``(..., classes)``.
        labels: int ``(...)``, the true ones.
        bins: int >= 1.

    Returns:
        A ``Reliability``.

    Example:
        >>> insights.reliability([[1.0, 0.0], [0.5, 0.5]], [0, 1]).ece  # sure and right; half sure and wrong
        0.25
    """
    bins = integer("reliability", "bins", bins, 1)
    probabilities = validation.probabilities("reliability", "probabilities", probabilities)
    labels = class_labels("reliability", "labels", labels, probabilities.shape[:-1], probabilities.shape[-1])
    confidence = probabilities.max(-1).reshape(-1).astype("float64")
    right = (probabilities.argmax(-1) == labels).reshape(-1)
    bin_of_each = confidence_bins(confidence, bins)
    count = np.bincount(bin_of_each, minlength=bins)
    confident, hits = (np.bincount(bin_of_each, values, minlength=bins) for values in (confidence, right))
    rows = np.where(count > 0, count, np.nan)
    return Reliability(count, confident / rows, hits / rows, expected_calibration_error(confidence, right, bins))


@dataclasses.dataclass(frozen=True)
class RiskCoverage:
    """The share of wrong predictions when only the surest are given.

    Attributes:
        coverage: float ``(n,)``, ``1/n … 1``, the share of rows that are kept, the least uncertain first.
        risk: float ``(n,)``, the share of wrong ones among them.

    Example:
        >>> curve = insights.risk_coverage([0.1, 0.2], np.array([False, True]))  # wrong where it is less sure
        >>> curve.coverage, curve.risk, curve.area
        (array([0.5, 1. ]), array([0. , 0.5]), 0.25)
    """

    coverage: np.ndarray
    risk: np.ndarray

    @property
    def area(self) -> float:
        """Mean risk over all coverages: the area under the curve. The smaller, the better the order.

        Example:
            >>> insights.RiskCoverage(np.array([0.5, 1.0]), np.array([0.0, 0.5])).area
            0.25
        """
        return float(self.risk.mean())

    def at(self, coverage: float) -> float:
        """The risk when at least the share ``coverage`` in (0, 1] is kept.

        Example:
            >>> curve = insights.RiskCoverage(np.array([0.5, 1.0]), np.array([0.0, 0.5]))
            >>> curve.at(0.5), curve.at(0.8)
            (0.0, 0.5)
        """
        coverage = number("RiskCoverage", "coverage", coverage, above=0, most=1)
        return float(self.risk[np.searchsorted(self.coverage, coverage - 1e-9)])


def risk_coverage(uncertainty: npt.ArrayLike, wrong: npt.ArrayLike) -> RiskCoverage:
    """The risk when a model abstains from its least confident predictions.

    Rows of equal uncertainty cannot be told apart: they count as kept in random order (its expectation), so that a
    measure that is the same everywhere gives a flat line.

    Args:
        uncertainty: float ``(...)``: entropy, disagreement or any other measure; the surest are kept first.
        wrong: bool ``(...)``, whether the predicted label is wrong.

    Returns:
        A ``RiskCoverage``.

    Example:
        >>> curve = insights.risk_coverage([0.9, 0.1, 0.2, 0.3], np.array([True, False, False, False]))
        >>> curve.at(0.75), curve.at(1.0)  # without the least sure one it never errs
        (0.0, 0.25)
    """
    uncertainty, wrong = np.asarray(uncertainty), np.asarray(wrong)
    fits = uncertainty.shape == wrong.shape and wrong.size > 0 and wrong.dtype == bool
    if not fits or not np.all(np.isfinite(uncertainty)):
        raise ValueError(
            "risk_coverage: expected `uncertainty`, finite, and bools `wrong`, of one shape, not empty. "
            f"Received: {uncertainty.dtype} {uncertainty.shape} and {wrong.dtype} {wrong.shape}"
        )
    _, group, sizes = np.unique(uncertainty.reshape(-1), return_inverse=True, return_counts=True)
    errors = np.bincount(group.reshape(-1), wrong.reshape(-1), minlength=len(sizes))
    kept = np.arange(1, wrong.size + 1)
    step = np.repeat(errors / sizes, sizes)  # errors per row kept, in order
    return RiskCoverage(kept / wrong.size, np.cumsum(step) / kept)
