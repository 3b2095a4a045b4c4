"""What ``litert`` refuses before it computes anything, and what it warns of."""

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="needs the extra `litert`")
pytest.importorskip("tensorflow", reason="LiteRT files are converted by TensorFlow")

from keras_moe import zoo
from keras_moe.datasets import digits
from keras_moe.export import litert
from keras_moe.export.litert import pipeline

IMAGES = digits()[1][0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"form": "sparse"}, "form"),
        ({"quantize": "int4"}, "quantize"),
        ({"quantize": "int8"}, "representative_dataset"),
        ({"path": "x.bin"}, "path"),
        ({"form": "parts"}, "path"),
        ({"trunk_precision": "float16"}, "trunk_precision"),
        ({"trunk_precision": "float"}, "trunk_precision.*None for form='routed', quantize=None"),
        (
            {"trunk_precision": "float", "quantize": "int8", "form": "dense", "representative_dataset": IMAGES},
            "trunk_precision.*None for form='dense', quantize='int8'",
        ),
        ({"images": IMAGES[0]}, "images"),
        (
            {"representative_dataset": (image for image in IMAGES)},
            "Received: generator. Make an array of what it yields",
        ),
        ({"representative_dataset": lambda: iter(IMAGES)}, "Received: function. Make an array"),
        ({"representative_dataset": [IMAGES[0], IMAGES[1, :4]]}, "an array of images.*Received: list"),
        ({"images": IMAGES[:0]}, "images"),
        ({"images": np.full((1, 8, 8, 1), np.nan)}, "finite"),
        ({"model": "hydranet"}, "model"),
    ],
)
def test_bad_arguments(tmp_path, changes, message):
    arguments = {"model": zoo.load("test_hydranet"), "path": "x.tflite", **changes}
    arguments["path"] = tmp_path / arguments["path"]
    with pytest.raises(ValueError, match=message):
        litert(**arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.once
def test_a_model_for_pixels_is_not_calibrated_with_black_without_a_word(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "_run", lambda *_: {})  # which ends the export
    with pytest.warns(UserWarning, match=r"multiply them by 255"), pytest.raises(KeyError):
        litert(zoo.load("test_hydranet"), tmp_path / "x.tflite", quantize="int8", representative_dataset=IMAGES / 255)
