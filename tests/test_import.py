"""Importing the package is cheap, and the package says what it is."""

import importlib.metadata
import importlib.resources
import json
import subprocess
import sys

import keras_moe

HEAVY = {"sklearn", "matplotlib", "scipy", "PIL", "safetensors", "rich", "tensorflow", "jax", "torch", "pandas"}
COUNT = """
import json, sys
import keras
before = set(sys.modules)
import keras_moe, keras_moe.cli, keras_moe.training, keras_moe.zoo
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_brings_in_nothing_heavy_beyond_keras():
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    added = json.loads(done.stdout.splitlines()[-1])
    assert "keras_moe.cli" in added
    assert {name.split(".")[0] for name in added} & HEAVY == set()


def test_version():
    assert keras_moe.__version__ == importlib.metadata.version("keras-moe")


def test_is_typed():
    assert importlib.resources.files("keras_moe").joinpath("py.typed").is_file()
