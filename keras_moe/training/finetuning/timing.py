"""How long an image takes by LiteRT on this machine."""

import importlib.util
import pathlib
import tempfile

from keras_moe.models import MoEModel
from keras_moe.types import Array

_IMAGES = 20
_PACKAGES = ("tensorflow", "ai_edge_litert", "flatbuffers")


def milliseconds(model: MoEModel, images: Array) -> dict[str, float]:
    """The median time of an image, in float on one thread, by the form of the file.

    Args:
        model: a classifier.
        images: uint8 ``(n, h, w, c)``, of which some are timed.

    Returns:
        dict, ``"routed"``, where only the chosen experts run, and ``"dense"``, where all do, -> ms. A network without
        experts has ``"routed"`` alone; empty without TensorFlow or the extra ``litert``.
    """
    if not all(map(importlib.util.find_spec, _PACKAGES)):
        return {}
    from keras_moe.export import LiteRTModel, litert
    from keras_moe.export.litert.latency import by_route

    took, some = {}, images[:_IMAGES].astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        for form in ("routed",) if model.bank is None else ("routed", "dense"):
            path = pathlib.Path(folder, f"{form}.tflite")
            litert(model, path, form, images=some[:1], check_parity=False)
            took[form] = float(by_route(LiteRTModel(path, num_threads=1), some)[0]["p50_ms"])
    return took
