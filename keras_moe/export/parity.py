"""How far an exported file is from its Keras model, and how far it may be."""

import numpy as np


class ParityError(ValueError):
    """An exported file that answers too differently from its Keras model; nothing was written."""


# Least agreement of predictions and of routes. Quantized weights move near-ties, of which a short training leaves many.
BOUNDS = {
    None: {"prediction_agreement": 0.999, "routing_agreement": 0.999},
    "float16": {"prediction_agreement": 0.98, "routing_agreement": 0.98},
    "dynamic": {"prediction_agreement": 0.9, "routing_agreement": 0.9},
    "int8": {"prediction_agreement": 0.9, "routing_agreement": 0.9},
}


def compare(predictions, route, expected, expected_route, scores):
    """What differs between a file's answers and its Keras model's.

    Args:
        predictions, expected: float arrays ``(n, ...)``.
        route, expected_route: float arrays ``(n, experts)``, or None.
        scores: bool, the last axis holds scores of classes; False: the predictions are images.

    Returns:
        dict of ``images`` (int), ``max_error`` and ``mean_error`` (of the predictions, in their unit),
        ``prediction_agreement`` (share of equal best classes; of an image's values equal once rounded),
        ``routing_agreement`` (share of images for which exactly the same experts ran) and ``same_main_expert`` (share
        whose heaviest expert is the same); the last two are absent for a dense network.
    """
    error = np.abs(np.asarray(predictions, "float64") - expected)
    ours, theirs = (p.argmax(-1) if scores else np.rint(p) for p in (np.asarray(predictions), np.asarray(expected)))
    found = {
        "images": len(predictions),
        "max_error": float(error.max()),
        "mean_error": float(error.mean()),
        "prediction_agreement": float(np.mean(ours == theirs)),
    }
    if route is None or expected_route is None:
        return found
    same = np.all((route != 0) == (expected_route != 0), axis=-1)
    main = _main(route) == _main(expected_route)
    return {**found, "routing_agreement": float(same.mean()), "same_main_expert": float(main.mean())}


def check(parity, quantize, scores):
    """Raises ParityError where ``parity``, as ``compare`` gives it, is below the bounds for ``quantize``."""
    bounds = {k: v for k, v in BOUNDS[quantize].items() if k in parity and (scores or k != "prediction_agreement")}
    short = {name: parity[name] for name, least in bounds.items() if parity[name] < least}
    if short:
        raise ParityError(
            f"The exported file agrees too little with its Keras model on {parity['images']} images: {short}; at least "
            f"{bounds} is expected of quantize={quantize!r}. Nothing was written. Give more representative images, "
            "another `quantize` or `gate`, or accept it with check_parity=False."
        )


def _main(route):
    """The heaviest expert of each row, -1 where none ran."""
    return np.where(np.any(route != 0, axis=-1), np.argmax(route, axis=-1), -1)
