"""Do the experts agree, with each other and with the answer? (Pavlitskaya et al., SAIAD at CVPR 2020, section 5.6
of whose analysis compares two experts and the mixture pixel by pixel.)

All arrays hold labels, one per image ``(n,)`` or per pixel ``(..., height, width)``; the experts' have one more axis in
front. Every function raises ValueError on labels that are no integers >= 0, on empty arrays and on shapes that differ.
"""

import dataclasses

import numpy as np

from keras_moe.insights import validation


@dataclasses.dataclass(frozen=True)
class Agreement:
    """The cases, each row (image or pixel) in exactly one of them.

    Attributes:
        perfect: bool ``(...)``: all experts say the same, and the answer is that.
        normal: bool ``(experts, ...)``: the experts differ and the answer sided with expert k.
        critical: bool ``(...)``: the answer is that of no expert. It is worth a second look.
    """

    perfect: np.ndarray
    normal: np.ndarray
    critical: np.ndarray

    @property
    def case(self):
        """int ``(...)``: 0 perfect, k + 1 normal with expert k, experts + 1 critical; see ``names``."""
        return np.concatenate([self.perfect[None], self.normal, self.critical[None]]).argmax(0)

    @property
    def names(self):
        """Names of the cases, in the order of ``case``."""
        return ["perfect", *(f"normal {k}" for k in range(len(self.normal))), "critical"]

    @property
    def shares(self):
        """Dict, name of the case -> share of rows."""
        counts = np.bincount(self.case.reshape(-1), minlength=len(self.names))
        return dict(zip(self.names, (counts / counts.sum()).tolist(), strict=True))


def agreement(experts, answer, weights=None):
    """Sorts rows into the four cases of two experts (perfect, normal with one, normal with the other, critical).

    For more experts the cases are: *perfect*, all experts and the answer are equal; *critical*, no expert gives the
    answer; *normal k*, in between, where several experts may support the answer: it then counts for the supporter with
    the largest weight, of equals for the first. Cases are numbered as the experts are, from 0.

    Args:
        experts: int ``(experts, ...)``, the label that each expert alone gives.
        answer: int ``(...)``, the label of the mixture.
        weights: routing weights ``(..., experts)``, or None: all equal.

    Returns:
        An ``Agreement``.
    """
    experts, answer = _labels("agreement", experts, answer)
    supports = experts == answer
    perfect, critical = supports.all(0), ~supports.any(0)
    if weights is None:
        weights = np.zeros((*answer.shape, len(experts)))
    weights = validation.weights("agreement", "weights", weights)
    if weights.shape != (*answer.shape, len(experts)):
        raise ValueError(f"agreement: `weights` must be {(*answer.shape, len(experts))}. Received: {weights.shape}")
    heaviest = np.where(supports, np.moveaxis(weights, -1, 0), -1).argmax(0)
    sided = np.arange(len(experts)).reshape(-1, *[1] * answer.ndim) == heaviest
    return Agreement(perfect, sided & ~perfect & ~critical, critical)


def disagreement(experts, answer):
    """The share of experts that would not give the answer, float ``(...)`` in [0, 1]. Arguments as ``agreement``'s."""
    experts, answer = _labels("disagreement", experts, answer)
    return (experts != answer).mean(0)


def _labels(owner, experts, answer):
    answer = np.asarray(answer)
    answer = validation.labels(owner, "answer", answer, answer.shape)
    experts = np.asarray(experts)
    return validation.labels(owner, "experts", experts, (*experts.shape[:1], *answer.shape)), answer
