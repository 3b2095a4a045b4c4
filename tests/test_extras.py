"""Every package that is imported is declared; one that is missing is named with its extra when it is needed."""

import ast
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

from keras_moe.checks import require

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NAMES = {"PIL": "pillow", "sklearn": "scikit-learn"}  # imported under another name than installed
OPTIONAL = (
    "flatbuffers",
    "ai_edge_litert",
    "tflite_micro",
    "scipy",
    "tf_keras",
    "tensorflow_model_optimization",
    "matplotlib",
    "jinja2",
    "huggingface_hub",
)


def declared():
    """Packages of the project and of its extras, as they are written."""
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return {re.match(r"[\w-]+", requirement)[0].lower() for requirements in lists for requirement in requirements}


def imported():
    """Top-level names that the package's modules import, wherever in the file."""
    found = set()
    for path in (ROOT / "keras_moe").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"keras_moe"}


def test_what_is_imported_is_declared():
    wanted = {NAMES.get(name, name.replace("_", "-")) for name in imported()}
    assert {"flatbuffers", "scipy", "tf-keras", "tensorflow-model-optimization"} <= wanted
    assert wanted - declared() == set()


CALLS = """
import sys
import keras  # first: backends need some of these themselves
sys.modules.update(dict.fromkeys({missing}))
import keras_moe, keras_moe.export, keras_moe.cli, keras_moe.insights, keras_moe.super_resolution, keras_moe.training
from keras_moe.export import LiteRTModel, litert
from keras_moe.zoo import card
for call in (lambda: LiteRTModel("x.tflite"), lambda: litert(None, "x.tflite"), lambda: card("hf://me/pets")):
    try:
        call()
    except ImportError as error:
        print(error)
"""


def test_imports_work_without_the_extras_and_calls_name_them():
    pytest.importorskip("tensorflow", reason="LiteRT files are converted by TensorFlow")
    code = CALLS.format(missing=OPTIONAL)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-3:] == [
        'LiteRTModel needs ai_edge_litert: pip install "keras-moe[litert]"',
        'litert needs ai_edge_litert and flatbuffers: pip install "keras-moe[litert]"',
        'hf://me/pets needs huggingface_hub: pip install "keras-moe[hub]"',
    ]


def test_require():
    require("it", "viz", "json", "ast")
    with pytest.raises(ImportError, match=r'it needs no_such: pip install "keras-moe\[viz\]"'):
        require("it", "viz", "json", "no_such")
