"""What a room exports has an example in its docstring, and the example runs.

Examples may use ``np``, ``keras`` and the package's rooms by name; they run in an empty folder, on one
backend. ``KERAS_MOE_DATA`` names this folder.
"""

import doctest
import importlib
import inspect

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.once

ROOMS = ("layers", "models", "training", "datasets", "zoo", "export", "insights", "metrics", "super_resolution")
MODULES = ("classify", "cost", "graph", "images", "picture", "recipes", "weights")
FINISHED = (
    "classify",
    "cost",
    "datasets",
    "export",
    "graph",
    "images",
    "insights",
    "metrics",
    "picture",
    "recipes",
    "super_resolution",
    "training",
    "weights",
    "zoo",
)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _exported(room):
    module = importlib.import_module(f"keras_moe.{room}")
    for name, thing in vars(module).items():
        documented = inspect.isclass(thing) or inspect.isfunction(thing)
        place = module.__name__ if room in MODULES else "keras_moe"  # a module exports what it defines
        if documented and not name.startswith("_") and thing.__module__.startswith(place):
            yield f"{room}.{name}", thing


EXPORTED = dict(pair for room in FINISHED for pair in _exported(room))


@pytest.mark.parametrize("name", EXPORTED)
def test_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_MOE_DATA", ".")
    keras.utils.set_random_seed(0)
    rooms = {room: importlib.import_module(f"keras_moe.{room}") for room in (*ROOMS, *MODULES)}
    globals_ = {"np": np, "keras": keras, "keras_moe": importlib.import_module("keras_moe"), **rooms}
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(EXPORTED[name]), globals_, name, None, None)
    assert example.examples, f"{name} has no example in its docstring"
    report = []
    result = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False).run(example, out=report.append)
    assert result.failed == 0, "".join(report)
