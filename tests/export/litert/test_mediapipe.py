"""MediaPipe reads labels, normalization and the experts' names from the metadata of an exported file.

It is in no extra, since it needs absl-py 2 and tensorflow-model-optimization absl-py 1. ``test_metadata`` reads the
same by hand.
"""

import keras
import numpy as np
import pytest

pytest.importorskip("mediapipe", reason="needs mediapipe, in an environment without tfmot")
pytest.importorskip("ai_edge_litert", reason="needs the extra `litert`")

import mediapipe

from keras_moe import zoo
from keras_moe.export import LiteRTModel, litert
from keras_moe.images import photographs


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="converted on TensorFlow")
def test_image_classifier(tmp_path):
    """The dense form: MediaPipe takes no file of several graphs, as the branches of a routed one are."""
    path, name = tmp_path / "dense.tflite", "hydranet_cifar100"
    litert(zoo.load(name), path, "dense", card=zoo.card(name))
    image = photographs((32, 32, 3))[0].astype("uint8")
    options = mediapipe.tasks.vision.ImageClassifierOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(path)), max_results=1
    )
    with mediapipe.tasks.vision.ImageClassifier.create_from_options(options) as classifier:
        found = classifier.classify(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image))
    predictions, route = LiteRTModel(path).predict_routed(image[None])
    heads = {head.head_name: head.categories[0].category_name for head in found.classifications}
    assert heads == {
        "prediction": zoo.card(name).classes[int(np.argmax(predictions))],
        "route": f"expert {int(np.argmax(route))}",
    }
