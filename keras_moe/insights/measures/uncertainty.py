"""How sure, and is it right to be? Entropies, expert variance, calibration, and what abstaining gains.

The measures of "MoE uncertainty" (STREAM at ICCV 2025, arXiv 2509.04816), for images and for pixels. Every function
raises ValueError on probabilities that are not finite or do not sum to one, labels out of range, empty arrays and
shapes that differ.
"""

import dataclasses

import numpy as np

from keras_moe.checks import integer, number
from keras_moe.insights import validation
from keras_moe.insights.measures.routing import normalised_entropy
from keras_moe.metrics import expected_calibration_error


def predictive_entropy(probabilities):
    """Entropy of predictions ``(..., classes)`` divided by ``log classes``, float ``(...)`` in [0, 1]."""
    return normalised_entropy(validation.probabilities("predictive_entropy", "probabilities", probabilities))


def mutual_information(experts, weights=None):
    """How much of the mixture's entropy comes from experts that differ: 0 where all say the same.

    Entropy of the experts' weighted mean, less the weighted mean of their entropies, divided by ``log classes``. (The
    source weighs the mean but not the entropies, which can be negative; with equal weights both agree.)

    Args:
        experts: float ``(experts, ..., classes)``, probabilities of each expert alone.
        weights: ``(..., experts)``, rows summing to one; None: all equal.

    Returns:
        float ``(...)`` in [0, 1].
    """
    experts = validation.probabilities("mutual_information", "experts", experts)
    expected = (*experts.shape[1:-1], len(experts))
    if experts.ndim < 2 or (weights is not None and np.shape(weights) != expected):
        raise ValueError(
            "mutual_information: expected `experts` (experts, ..., classes) and `weights` (..., experts). "
            f"Received: {experts.shape} and {None if weights is None else np.shape(weights)}"
        )
    if weights is None:
        weights = np.full(expected, 1 / len(experts))
    weights = np.moveaxis(validation.probabilities("mutual_information", "weights", weights), -1, 0)
    mixed = normalised_entropy((weights[..., None] * experts).sum(0))
    return np.maximum(mixed - (weights * normalised_entropy(experts)).sum(0), 0.0)


def expert_variance(experts, answer):
    """Standard deviation over experts of the probability of the answer, divided by the largest in the arrays.

    Pass one image's pixels, or one set of images: the result compares rows within it.

    Args:
        experts: float ``(experts, ..., classes)``, probabilities of each expert alone.
        answer: int ``(...)``, the mixture's label.

    Returns:
        float ``(...)`` in [0, 1]; all 0 where the experts never differ.
    """
    experts = validation.probabilities("expert_variance", "experts", experts)
    answer = validation.labels("expert_variance", "answer", answer, experts.shape[1:-1], experts.shape[-1])
    deviation = np.take_along_axis(experts, answer[None, ..., None], -1)[..., 0].std(0)
    return deviation / max(deviation.max(), np.finfo(deviation.dtype).tiny)


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in equal bins of confidence.

    Attributes:
        count: int ``(bins,)``, predictions in the bin.
        confidence, accuracy: float ``(bins,)``, their means; NaN in an empty bin.
        ece: float in [0, 1], expected calibration error: mean over predictions of their bin's gap.
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    ece: float


def reliability(probabilities, labels, bins=15):
    """Is a prediction of 80% right in 80% of cases? Bin i holds confidences in ``(i / bins, (i + 1) / bins]``.

    Args:
        probabilities: float ``(..., classes)``.
        labels: int ``(...)``, the true ones.
        bins: int >= 1.

    Returns:
        A ``Reliability``.
    """
    bins = integer("reliability", "bins", bins, 1)
    probabilities = validation.probabilities("reliability", "probabilities", probabilities)
    labels = validation.labels("reliability", "labels", labels, probabilities.shape[:-1], probabilities.shape[-1])
    confidence = probabilities.max(-1).reshape(-1).astype("float64")
    right = (probabilities.argmax(-1) == labels).reshape(-1)
    where = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(where, minlength=bins)
    confident, hits = (np.bincount(where, values, minlength=bins) for values in (confidence, right))
    rows = np.where(count > 0, count, np.nan)
    return Reliability(count, confident / rows, hits / rows, expected_calibration_error(confidence, right, bins))


@dataclasses.dataclass(frozen=True)
class RiskCoverage:
    """The share of wrong answers when only the surest are given.

    Attributes:
        coverage: float ``(n,)``, ``1/n … 1``, the share of rows that are answered, the least uncertain first.
        risk: float ``(n,)``, the share of wrong ones among them.
    """

    coverage: np.ndarray
    risk: np.ndarray

    @property
    def area(self):
        """Mean risk over all coverages: the area under the curve. The smaller, the better the order."""
        return float(self.risk.mean())

    def at(self, coverage):
        """The risk when at least the share ``coverage`` in (0, 1] is answered."""
        coverage = number("RiskCoverage", "coverage", coverage, above=0, most=1)
        return float(self.risk[np.searchsorted(self.coverage, coverage - 1e-9)])


def risk_coverage(uncertainty, wrong):
    """What is gained by not answering where one is unsure.

    Rows of equal uncertainty cannot be told apart: they count as answered in random order (its expectation), so that a
    measure that is the same everywhere gives a flat line.

    Args:
        uncertainty: float ``(...)``: entropy, disagreement or any other measure; the surest are answered first.
        wrong: bool ``(...)``, whether the answer is wrong.

    Returns:
        A ``RiskCoverage``.
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
    answered = np.arange(1, wrong.size + 1)
    step = np.repeat(errors / sizes, sizes)  # errors per row answered, in order
    return RiskCoverage(answered / wrong.size, np.cumsum(step) / answered)
