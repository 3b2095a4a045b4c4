"""What a room exports has an example in its docstring, so have its public methods, and all of them run.

Examples may use ``np``, ``keras`` and the package's rooms by name; they run in an empty folder, on one
backend. ``KERAS_MOE_DATA`` names this folder.
"""

import doctest
import functools
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
    "layers",
    "metrics",
    "models",
    "picture",
    "recipes",
    "super_resolution",
    "training",
    "weights",
    "zoo",
)
# Keras calls these, where it saves and loads.
HOOKS = ("get_config", "get_compile_config", "compile_from_config")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _exported(room):
    module = importlib.import_module(f"keras_moe.{room}")
    for name, thing in vars(module).items():
        documented = inspect.isclass(thing) or inspect.isfunction(thing)
        place = module.__name__ if room in MODULES else "keras_moe"  # a module exports what it defines
        if documented and not name.startswith("_") and thing.__module__.startswith(place):
            yield f"{room}.{name}", thing


def _methods(things):
    """Public methods and properties by the class that defines them, which may be one that the exported ones inherit.

    Overridden ones count where they say something of their own; what Keras calls does not.
    """
    for cls in {base: None for thing in things if inspect.isclass(thing) for base in inspect.getmro(thing)}:
        module = cls.__module__.removeprefix("keras_moe.")
        for name, method in vars(cls).items() if module != cls.__module__ else ():
            if name.startswith("_") or name in HOOKS or not _is_method(method):
                continue
            overrides = any(hasattr(base, name) for base in inspect.getmro(cls)[1:])
            if method.__doc__ or not overrides:
                yield f"{module}.{cls.__name__}.{name}", method


def _is_method(thing):
    return inspect.isfunction(thing) or isinstance(thing, (property, functools.cached_property, classmethod))


EXPORTED = dict(pair for room in FINISHED for pair in _exported(room))
EXAMPLES = EXPORTED | dict(_methods(EXPORTED.values()))


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_MOE_DATA", ".")
    keras.utils.set_random_seed(0)
    rooms = {room: importlib.import_module(f"keras_moe.{room}") for room in (*ROOMS, *MODULES)}
    globals_ = {"np": np, "keras": keras, "keras_moe": importlib.import_module("keras_moe"), **rooms}
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(EXAMPLES[name]), globals_, name, None, None)
    assert example.examples, f"{name} has no example in its docstring"
    report = []
    result = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False).run(example, out=report.append)
    assert result.failed == 0, "".join(report)
