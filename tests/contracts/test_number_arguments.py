"""Every public function that takes numbers looks at them first: before files, images and models."""

import importlib
import inspect
import math

import numpy as np
import pytest

from keras_moe import metrics
from keras_moe.export import LiteRTModel
from keras_moe.export.litert.latency import by_route
from keras_moe.images import crops
from keras_moe.training import Recipe, check_masks, train_single_gated
from keras_moe.zoo.store import published_folder

MODULES = (
    "datasets", "datasets.patches", "export", "export.litert.latency", "images", "insights", "metrics",
    "super_resolution", "training", "training.augmentation", "training.cost_weight", "training.features",
    "training.super_resolution_stages", "zoo",
)  # fmt: skip
# Numbers that the signature does not show: they have no default, or None is one.
WHOLE = {
    "bicubic": ["scale"], "cache_views": ["views"], "check_masks": ["classes"], "class_by_expert": ["classes"],
    "confusion_matrix": ["classes"], "crops": ["n"], "cut_patches": ["scale"], "favourites": ["count"],
    "load": ["classes"], "measure_segmenter": ["classes"], "partition_classes": ["groups"],
    "partition_samples": ["groups"], "random_views": ["size", "seed"], "Recipe": ["epochs"], "resized": ["size"],
    "shrink": ["scale"], "SuperResolutionRecipe": ["branch_epochs", "class_epochs", "joint_epochs"],
    "Stage": ["epochs"],
    "train_experts": ["n_jobs"], "train_single_gated": ["n_jobs"],
}  # fmt: skip
OTHER = {
    "DrawnBatches": ["share"], "fit_cost_weight": ["budget"], "fit_drop_below": ["budget"], "Round": ["share"],
    "SuperResolutionRecipe": ["share"],
}  # fmt: skip
KERAS_OWN = ("verbose",)
MAY_BE_ZERO = ("border", "error_epochs", "first", "ignore", "overlap", "pad", "retries", "seed", "views")
MAY_BE_ZERO += ("branch_epochs", "class_epochs", "joint_epochs")  # a stage that is left out
# What is needed to come as far as the numbers, and numbers whose limits are those of other arguments, which come first.
NEEDED = {"card": ("test_hydranet",), "load": ("test_hydranet",), "compress": (None, ([], []), "prune")}
OF_THE_DATA = {("decode_predictions", "top"), ("compress", "batch_size"), ("classify", "top")}
WRONG = {int: (True, 1.5, "2", math.nan, [3]), float: (True, "2", math.nan, [0.5]), bool: ("no", 2, None)}


def public():
    """Name -> function or class of the package, each once."""
    found = {}
    for module in MODULES:
        members = vars(importlib.import_module(f"keras_moe.{module}"))
        for name, value in members.items():
            ours = getattr(value, "__module__", "").startswith("keras_moe.")
            error = isinstance(value, type) and issubclass(value, Exception)
            if ours and callable(value) and not error and not name.startswith("_"):
                found[name] = value
    return {name: value for name, value in found.items() if value.__module__ != "keras_moe.checks"}


def numbers():
    """Triples of a function's or class's name, one of its numbers, and the kind of that."""
    for name, function in public().items():
        defaults = {p.name: p.default for p in inspect.signature(function).parameters.values()}
        kinds = {argument: type(value) for argument, value in defaults.items() if type(value) in WRONG}
        kinds |= dict.fromkeys(WHOLE.get(name, ()), int) | dict.fromkeys(OTHER.get(name, ()), float)
        yield from ((name, argument, kind) for argument, kind in kinds.items() if argument not in KERAS_OWN)


@pytest.mark.parametrize(("name", "argument", "kind"), [n for n in numbers() if n[:2] not in OF_THE_DATA])
def test_what_is_no_such_number_is_refused_by_name(name, argument, kind):
    function, given = public()[name], NEEDED.get(name, ())
    parameters = list(inspect.signature(function).parameters.values())[len(given) :]
    others = {p.name: None for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    others |= dict.fromkeys(WHOLE.get(name, ()), 1)
    for value in (*WRONG[kind], *([0] if kind is int and argument not in MAY_BE_ZERO else [])):
        with pytest.raises(ValueError, match=f"`{argument}` must be"):
            function(*given, **{**others, argument: value})


def test_every_module_was_looked_at():
    """The list above is all that the package offers: what is not named in it takes no numbers."""
    found = {name for name, _, _ in numbers()}
    assert len(found) > 40
    assert WHOLE.keys() | OTHER.keys() <= public().keys()


def test_numpy_s_numbers_are_taken_by_the_phone_s_side():
    images = crops((32, 32, 3), np.int64(2), np.uint8(1))
    model = LiteRTModel(published_folder() / "hydranet_cifar100" / "routed_int8.tflite", num_threads=np.int64(2))
    rows = by_route(model, images, rounds=np.int32(2))
    assert rows[0]["images"] == 2


def test_a_label_that_does_not_count_may_be_numpy_s():
    masks = np.array([[[0, 1], [7, 7]]])
    check_masks(np.zeros((1, 2, 2, 3)), masks, np.int64(2), np.int64(7))
    with pytest.raises(ValueError, match=r"Received: \[7\], the first in mask 0"):
        check_masks(np.zeros((1, 2, 2, 3)), masks, 2, None)
    np.testing.assert_array_equal(
        metrics.confusion_matrix(masks, masks * 0, np.int64(2), np.uint8(7)), [[1, 0], [1, 0]]
    )


def test_counts_of_workers():
    with pytest.raises(ValueError, match="train_single_gated: `n_jobs` must be None, an int >= 1, or a negative one"):
        train_single_gated(None, None, None, "nowhere", Recipe(1), n_jobs=0)
