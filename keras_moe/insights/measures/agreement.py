"""Do the experts agree, with each other and with the mixture? (Pavlitskaya et al., SAIAD at CVPR 2020, section 5.6,
compares two experts and the mixture pixel by pixel.)

All arrays hold labels, one per image ``(n,)`` or per pixel ``(..., height, width)``; the experts' have one more axis in
front. Every function raises ValueError on labels that are no integers >= 0, on empty arrays and on shapes that differ.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from keras_moe.checks import class_labels
from keras_moe.insights.measures import validation


@dataclasses.dataclass(frozen=True)
class Agreement:
    """The cases, each row (image or pixel) in exactly one of them.

    Attributes:
        perfect: bool ``(...)``: all experts and the mixture predict the same label.
        normal: bool ``(experts, ...)``: the experts differ, and the mixture's label is that of expert k.
        critical: bool ``(...)``: the mixture's label is that of no expert. It is worth a second look.

    Example:
        One row of each case: perfect, with expert 0, with expert 1, critical.

        >>> cases = insights.agreement([[0, 1, 1, 1], [0, 2, 2, 2]], [0, 1, 2, 0])
        >>> cases.case
        array([0, 1, 2, 3])
        >>> cases.shares
        {'perfect': 0.25, 'normal 0': 0.25, 'normal 1': 0.25, 'critical': 0.25}
    """

    perfect: np.ndarray
    normal: np.ndarray
    critical: np.ndarray

    @property
    def case(self) -> np.ndarray:
        """int ``(...)``: 0 perfect, k + 1 normal with expert k, experts + 1 critical; see ``names``.

        Example:
            >>> insights.agreement([[0, 1, 1], [0, 2, 2]], [0, 2, 0]).case  # perfect, with expert 1, critical
            array([0, 2, 3])
        """
        cases = np.concatenate([self.perfect[None], self.normal, self.critical[None]])
        case: np.ndarray = cases.argmax(0)
        return case

    @property
    def names(self) -> list[str]:
        """Names of the cases, in the order of ``case``.

        Example:
            >>> insights.agreement([[0], [0]], [0]).names
            ['perfect', 'normal 0', 'normal 1', 'critical']
        """
        return ["perfect", *(f"normal {k}" for k in range(len(self.normal))), "critical"]

    @property
    def shares(self) -> dict[str, float]:
        """Dict, name of the case -> share of rows.

        Example:
            >>> insights.agreement([[0, 1], [0, 2]], [0, 2]).shares
            {'perfect': 0.5, 'normal 0': 0.0, 'normal 1': 0.5, 'critical': 0.0}
        """
        counts = np.bincount(self.case.reshape(-1), minlength=len(self.names))
        return dict(zip(self.names, (counts / counts.sum()).tolist(), strict=True))


def agreement(
    expert_labels: npt.ArrayLike, predicted_labels: npt.ArrayLike, route: npt.ArrayLike | None = None
) -> Agreement:
    """Sorts rows into the four cases of two experts (perfect, normal with one, normal with the other, critical).

    For more experts the cases are: *perfect*, all experts and the mixture are equal; *critical*, no expert predicts the
    mixture's label; *normal k*, in between, where several experts may support that label: it then counts for the
    supporter with the largest weight, of equals for the first. Cases are numbered as the experts are, from 0.

    Args:
        expert_labels: int ``(experts, ...)``, the label that each expert alone predicts.
        predicted_labels: int ``(...)``, the label that the mixture predicts.
        route: routing weights ``(..., experts)``, or None: all equal.

    Returns:
        An ``Agreement``.

    Example:
        Experts 0 and 1 predict class 1, expert 2 class 2; of the two supporters expert 1 has the larger weight.

        >>> cases = insights.agreement([[1], [1], [2]], [1], [[0.2, 0.3, 0.5]])
        >>> cases.names[cases.case[0]]
        'normal 1'
    """
    expert_labels, predicted_labels = _labels("agreement", expert_labels, predicted_labels)
    supports = expert_labels == predicted_labels
    perfect, critical = supports.all(0), ~supports.any(0)
    shape = (*predicted_labels.shape, len(expert_labels))
    weights = validation.weights("agreement", "route", np.zeros(shape) if route is None else route)
    if weights.shape != shape:
        raise ValueError(f"agreement: `route` must be {shape}. Received: {weights.shape}")
    heaviest = np.where(supports, np.moveaxis(weights, -1, 0), -1).argmax(0)
    sided = np.arange(len(expert_labels)).reshape(-1, *[1] * predicted_labels.ndim) == heaviest
    return Agreement(perfect, sided & ~perfect & ~critical, critical)


def disagreement(expert_labels: npt.ArrayLike, predicted_labels: npt.ArrayLike) -> np.ndarray:
    """The share of experts that would not predict the mixture's label.

    Args:
        expert_labels, predicted_labels: as for ``agreement``.

    Returns:
        float ``(...)`` in [0, 1].

    Example:
        >>> insights.disagreement([[0, 1], [0, 2]], [0, 1])  # both agree; one of two does not
        array([0. , 0.5])
    """
    expert_labels, predicted_labels = _labels("disagreement", expert_labels, predicted_labels)
    share: np.ndarray = (expert_labels != predicted_labels).mean(0)
    return share


def _labels(owner: str, expert_labels: npt.ArrayLike, predicted_labels: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    predicted = class_labels(owner, "predicted_labels", predicted_labels, np.shape(predicted_labels))
    shape = (*np.shape(expert_labels)[:1], *predicted.shape)
    return class_labels(owner, "expert_labels", expert_labels, shape), predicted
