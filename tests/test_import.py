"""Importing the package is cheap, and the package says what it is."""

import ast
import collections
import graphlib
import importlib.metadata
import importlib.resources
import json
import pathlib
import re
import subprocess
import sys

import pytest

import keras_moe

pytestmark = pytest.mark.once

HEAVY = {
    "sklearn", "matplotlib", "jinja2", "scipy", "PIL", "safetensors", "rich", "tomlkit", "tensorflow", "jax", "torch",
    "pandas",
}  # fmt: skip
# What a process finds that imports the package, and then more of it.
IMPORTED = """
import json, sys
import keras
import numpy as np
before = set(sys.modules)
import keras_moe
facts = {"first": sorted(sys.modules), "model": str(keras.saving.get_registered_object("keras_moe>HydraNet"))}
import keras_moe.cli, keras_moe.training, keras_moe.zoo
facts["added"] = sorted(set(sys.modules) - before)
facts["dir"] = dir(keras_moe)
assert callable(keras_moe.export.litert) and callable(keras_moe.insights.expert_usage) and keras_moe.metrics.iou
assert callable(keras_moe.classify.classify) and callable(keras_moe.picture.plot_classifications)
try:
    keras_moe.exports
except AttributeError as error:
    facts["error"] = str(error)
keras_moe.zoo.load("test_hydranet").predict(np.zeros((1, 8, 8, 1)), verbose=0)
facts["used"] = sorted(set(sys.modules) - before)
print(json.dumps(facts))
"""
one_process = pytest.mark.xdist_group("import")


@pytest.fixture(scope="module")
def imported():
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@one_process
def test_brings_in_nothing_heavy_beyond_keras(imported):
    assert "keras_moe.cli" in imported["added"]
    assert {name.split(".")[0] for name in imported["added"]} & HEAVY == set()


@one_process
def test_a_model_of_another_backend_does_not_import_tensorflow(imported):
    """Keras would, wherever TensorFlow is installed, which takes seconds."""
    assert "safetensors" in imported["used"]
    assert "tensorflow" not in imported["used"]


def test_version():
    changelog = (pathlib.Path(__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## (\d+\.\d+\.\d+)", changelog, re.MULTILINE)
    assert keras_moe.__version__ == importlib.metadata.version("keras-moe") == released[0]


@one_process
def test_submodules_are_there_when_they_are_asked_for(imported):
    assert not {"keras_moe.export", "keras_moe.insights"} & set(imported["first"])
    later = {"classify", "cost", "datasets", "export", "graph", "images", "insights", "metrics", "picture"}
    later |= {"super_resolution", "weights"}
    assert later <= set(imported["dir"])
    assert imported["error"] == "module 'keras_moe' has no attribute 'exports'"


def test_is_typed():
    assert importlib.resources.files("keras_moe").joinpath("py.typed").is_file()


CARDS = """
import sys
import keras_moe_cli
for arguments in (["list"], ["list", "hydranet*", "--json"], ["info", "test_hydranet"], ["--help"]):
    try:
        assert keras_moe_cli.main(arguments) == 0
    except SystemExit as done:
        assert done.code == 0
print(sorted({name.split(".")[0] for name in sys.modules} & {"keras", "tensorflow", "jax", "torch", "sklearn"}))
"""


def test_the_command_shows_cards_without_keras():
    done = subprocess.run([sys.executable, "-c", CARDS], capture_output=True, text=True, check=True)
    assert "hydranet_cifar100" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@one_process
def test_importing_the_package_registers_its_models(imported):
    assert "HydraNet" in imported["model"]


def test_no_module_imports_itself_by_way_of_others():
    """Imports inside functions count as well."""
    modules = _modules()
    graph = {name: _imported(path, modules) for name, path in modules.items()}
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_no_room_imports_itself_by_way_of_others():
    """A room is a folder or a file of the package's first level."""
    modules = _modules()
    graph = collections.defaultdict(set)
    for name, path in modules.items():
        graph[_room(name)] |= {_room(other) for other in _imported(path, modules)} - {_room(name)}
    del graph["keras_moe"]  # which imports rooms to register what a `.keras` file may hold
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    ("line", "imported"),
    [
        ("from keras_moe.images import crops", {"keras_moe.images"}),
        ("import keras_moe.images, numpy", {"keras_moe.images"}),
        ("from . import listing, store", {"keras_moe.zoo.listing", "keras_moe.zoo.store"}),
        ("from .store import published_folder", {"keras_moe.zoo.store"}),
        ("from .. import images", {"keras_moe.images"}),
        ("def f():\n    from ..models.base import MoEModel", {"keras_moe.models.base"}),
    ],
)
def test_what_counts_as_an_import(line, imported, tmp_path):
    modules = _modules()
    path = tmp_path / "keras_moe" / "zoo" / "new.py"
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert _imported(path, modules, tmp_path) == imported


def test_rooms_of_export_depend_downward():
    """``litert`` on ``quantization`` and ``targets``, none of the others on another."""
    root = pathlib.Path(keras_moe.__file__).parent / "export"
    below = {"litert": {"quantization", "targets"}, "quantization": set(), "targets": set(), "compression": set()}
    for room, allowed in below.items():
        modules = {f"keras_moe.export.{other}.{path.stem}" for other in below for path in (root / other).glob("*.py")}
        found = set().union(*(_imported(path, modules) for path in (root / room).glob("*.py")))
        assert {name.split(".")[2] for name in found} <= {room, *allowed}


def test_each_way_of_export_opens_a_model_in_one_place():
    """Its stages read the graph that they are given."""
    root = pathlib.Path(keras_moe.__file__).parent / "export"
    opening = [path.stem for path in root.rglob("*.py") if "open_graph" in path.read_text(encoding="utf-8")]
    assert sorted(opening) == ["network", "subgraphs"]


def _modules():
    """Name -> path of every module of the package."""
    root = pathlib.Path(keras_moe.__file__).parent
    files = {".".join(path.relative_to(root.parent).with_suffix("").parts): path for path in root.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in files.items()}


def _room(module):
    return ".".join(module.split(".")[:2])


def _imported(path, modules, above=None):
    """Names among ``modules`` that a file of the package imports; ``above``: the folder that holds the package."""
    above = above or pathlib.Path(keras_moe.__file__).parents[1]
    package = path.relative_to(above).parent.parts
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            beside = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*beside, *([node.module] if node.module else [])])
            inner = {f"{module}.{alias.name}" for alias in node.names}
            names |= {name if name in modules else module for name in inner}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names & set(modules)
