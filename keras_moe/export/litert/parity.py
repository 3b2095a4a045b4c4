"""Parity: the difference between an exported file and its Keras model, and its bounds."""

import typing

import numpy as np

from keras_moe.types import Array


class ParityError(ValueError):
    """Raised when an exported file differs too much from its Keras model; nothing was written.

    Example:
        >>> from keras_moe.export.litert import parity
        >>> parity.check({"images": 100, "prediction_agreement": 0.5}, "int8", scores=True)
        Traceback (most recent call last):
        ...
        keras_moe.export.litert.parity.ParityError: The exported file agrees too little with its Keras model on 100 ...
    """


# Least agreement of predictions and of routes. Quantized weights move near-ties, of which a short training leaves many.
BOUNDS = {
    None: {"prediction_agreement": 0.999, "routing_agreement": 0.999},
    "float16": {"prediction_agreement": 0.98, "routing_agreement": 0.98},
    "dynamic": {"prediction_agreement": 0.9, "routing_agreement": 0.9},
    "int8": {"prediction_agreement": 0.9, "routing_agreement": 0.9},
}
# Largest relative error. Without it a wrong copy of a model passes whose scores are wrong but in the same order. Scores
# of int8 may be off by more and still name the same class: there it is asked of images alone.
MOST = {None: 1e-3, "float16": 0.05, "dynamic": 0.1, "int8": 0.1}


def compare(
    predictions: Array, route: Array | None, expected: Array, expected_route: Array | None, scores: bool
) -> dict[str, typing.Any]:
    """The differences between the predictions of a file and those of its Keras model.

    Args:
        predictions, expected: float arrays ``(n, ...)``.
        route, expected_route: float arrays ``(n, experts)``, or None.
        scores: bool, the last axis holds scores of classes; False: the predictions are images.

    Returns:
        dict of ``images`` (int), ``max_error`` and ``mean_error`` (of the predictions, in their unit),
        ``relative_error`` (the mean error over the predictions' mean absolute value, on the images for which the same
        experts ran; absent where there are none),
        ``prediction_agreement`` (share of equal best classes; of an image's values equal once rounded),
        ``routing_agreement`` (share of images for which exactly the same experts ran) and ``same_main_expert`` (share
        whose heaviest expert is the same); the last two are absent for a dense network.
    """
    # Image by image: all of them in float64 at once would take gigabytes where pixels are classified.
    rows = zip(predictions, expected, strict=True)
    largest, mean, agreement, size = np.transpose([_of_image(ours, theirs, scores) for ours, theirs in rows])
    figures = {
        "images": len(predictions),
        "max_error": float(largest.max()),
        "mean_error": float(mean.mean()),
        "prediction_agreement": float(agreement.mean()),
    }
    if route is None or expected_route is None:
        return {**figures, "relative_error": _relative(mean, size)}
    same = np.all((route != 0) == (expected_route != 0), axis=-1)
    alike = same if same.ndim == 1 else np.all(same, axis=tuple(range(1, same.ndim)))
    if np.any(alike):
        figures["relative_error"] = _relative(mean[alike], size[alike])
    main = _main(route) == _main(expected_route)
    return {**figures, "routing_agreement": float(same.mean()), "same_main_expert": float(main.mean())}


def _of_image(prediction: Array, expected: Array, scores: bool) -> tuple[float, float, float, float]:
    """Largest and mean error, share of equal best classes or rounded values, mean absolute value expected."""
    ours, theirs = np.asarray(prediction, "float64"), np.asarray(expected, "float64")
    error = np.abs(ours - theirs)
    equal = ours.argmax(-1) == theirs.argmax(-1) if scores else np.rint(ours) == np.rint(theirs)
    return error.max(), error.mean(), np.mean(equal), np.abs(theirs).mean()


def check(parity: dict[str, typing.Any], quantize: str | None, scores: bool) -> None:
    """Raises ParityError where ``parity``, as ``compare`` gives it, is below the bounds for ``quantize``."""
    bounds = {k: v for k, v in BOUNDS[quantize].items() if k in parity and (scores or k != "prediction_agreement")}
    short = {name: parity[name] for name, least in bounds.items() if parity[name] < least}
    if quantize in (None, "float16") or not scores:
        bounds["relative_error"] = MOST[quantize]
        if not parity.get("relative_error", 0) <= MOST[quantize]:
            short["relative_error"] = parity["relative_error"]
    if short:
        raise ParityError(
            f"The exported file agrees too little with its Keras model on {parity['images']} images: {short}; "
            f"{bounds} (agreements at least, errors at most) is expected of quantize={quantize!r}. Nothing was "
            "written. Give more representative images, another `quantize` or `trunk_precision`, or accept it with "
            "check_parity=False."
        )


def _relative(errors: Array, sizes: Array) -> float:
    return float(errors.sum() / max(sizes.sum(), np.finfo("float32").tiny))


def _main(route: Array) -> Array:
    """The heaviest expert of each row, -1 where none ran."""
    return np.where(np.any(route != 0, axis=-1), np.argmax(route, axis=-1), -1)
