"""Classification of images: labels, the experts that ran, and their cost."""

import dataclasses
import typing

import numpy as np

from keras_moe.checks import warn_of_fractions

if typing.TYPE_CHECKING:
    from keras_moe.models import MoEModel
    from keras_moe.zoo import Card
    from keras_moe.zoo.sources import Name


@dataclasses.dataclass(frozen=True)
class Classification:
    """The labels of one image, with the experts that ran and their cost.

    Attributes:
        top: ``((label, probability), …)``, best first.
        route: dict, index of each expert that ran -> its weight; empty after an early exit; None for a dense network.
        macs_executed: multiply-accumulates spent on this image.
        macs_total: of the whole network, every expert included.

    Example:
        >>> classify.Classification((("cat", 0.9),), {2: 1.0}, macs_executed=1e6, macs_total=4e6).experts
        '2 (weight 1.00)'
    """

    top: tuple[tuple[str, float], ...]
    route: dict[int, float] | None
    macs_executed: float
    macs_total: float

    @property
    def experts(self) -> str | None:
        """The experts that ran, in words; None for a dense network.

        Example:
            >>> classify.Classification((("cat", 0.9),), {}, macs_executed=1e6, macs_total=4e6).experts
            'none, the base predicted alone'
        """
        if self.route is None:
            return None
        return ", ".join(f"{k} (weight {w:.2f})" for k, w in self.route.items()) or "none, the base predicted alone"


def classify(model: "MoEModel", name: "Name | Card", images: np.ndarray, top: int = 5) -> list[Classification]:
    """Classifies images with a model of the zoo or of a model folder.

    Args:
        model: what ``zoo.load(name)`` gave.
        name: as for ``zoo.load``, for its labels; or its card, which spares reading it anew.
        images: float array ``(n, height, width, channels)`` in [0, 255].
        top: int, labels per image.

    Returns:
        List of ``Classification``.

    Raises:
        ValueError: an image for which the prediction is not finite.

    Warns:
        UserWarning: images of numbers in [0, 1].

    Example:
        >>> model = zoo.load("test_hydranet")
        >>> (result,) = classify.classify(model, "test_hydranet", np.zeros((1, 8, 8, 1)), top=2)
        >>> len(result.top), result.macs_executed < result.macs_total
        (2, True)
    """
    from keras_moe import zoo

    warn_of_fractions("classify", np.asarray(images))
    predictions, route = model.predict_routed(images)
    labels = zoo.decode_predictions(predictions, name, top)
    return [
        Classification(
            top=tuple((label, score) for _, label, score in labels[i]),
            route=None if route is None else {int(k): float(route[i, k]) for k in np.flatnonzero(route[i])},
            macs_executed=float(model.macs_total) if route is None else model.mean_macs(route=route[i : i + 1]),
            macs_total=model.macs_total,
        )
        for i in range(len(images))
    ]
