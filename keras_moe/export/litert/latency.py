"""Latency of an exported file, route by route, on real images."""

import collections
import time
import typing

import numpy as np

from keras_moe.checks import integer
from keras_moe.export.litert.runtime import LiteRTModel
from keras_moe.types import Array


def by_route(model: LiteRTModel, images: Array, rounds: int = 3) -> list[dict[str, typing.Any]]:
    """Latency of a ``LiteRTModel``, for each route that the images take and for all of them.

    Args:
        model: an exported file.
        images: ``(n, height, width, channels)``.
        rounds: int >= 1, each image is timed that often, after one run that does not count.

    Returns:
        List of dicts of ``route`` (str, the experts that ran; ``"all"``), ``images`` (int), ``p50_ms`` and ``p95_ms``;
        the first is that of all images.
    """
    rounds = integer("by_route", "rounds", rounds, 1)
    took: dict[str, list[float]] = collections.defaultdict(list)
    for image in images:
        route = model.predict_routed(image[None])[1]
        for _ in range(rounds):
            start = time.perf_counter()
            model.predict(image[None])
            took[_named(route)].append(1e3 * (time.perf_counter() - start))
    every = {"all": [t for times in took.values() for t in times]}
    shown = every if len(took) == 1 else every | dict(sorted(took.items()))
    return [_row(route, times, rounds) for route, times in shown.items()]


def _named(route: Array | None) -> str:
    if route is None:
        return "all"
    ran = np.flatnonzero(route[0])
    return "experts " + "+".join(map(str, ran)) if len(ran) else "early exit"


def _row(route: str, times: list[float], rounds: int) -> dict[str, typing.Any]:
    p50, p95 = np.percentile(times, (50, 95))
    return {"route": route, "images": len(times) // rounds, "p50_ms": float(p50), "p95_ms": float(p95)}
