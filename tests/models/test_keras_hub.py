"""Classifiers of KerasHub and KerasCV can be upcycled, predicted with and exported: the example says by how much."""

import importlib.util
import pathlib
import re
import subprocess
import sys

import keras
import pytest

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "upcycle_keras_hub.py"


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="KerasCV reads images with TensorFlow")
@pytest.mark.skipif(importlib.util.find_spec("keras_cv") is None, reason="needs the extra cv")
def test_the_example_upcycles_predicts_and_exports():
    # In a process of its own: these packages warn when they are imported.
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=True)
    assert re.findall(r"^(\w+): cut after", done.stdout, re.MULTILINE) == [
        "keras_hub_classifier",
        "keras_cv_classifier",
    ]
    apart = [float(number) for number in re.findall(r"by (\S+)", done.stdout)]
    assert len(apart) == 4
    assert max(apart) < 1e-4
