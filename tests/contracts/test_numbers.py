"""Numbers from NumPy are as good as Python's, and what is no such number is refused by name, everywhere."""

import copy
import dataclasses
import inspect
import json
import math

import keras
import numpy as np
import pytest
from descriptors import each, shared, tiny_classifier

from keras_moe import metrics, models, zoo
from keras_moe.checks import flag, integer, number, sizes
from keras_moe.insights import favourites, reliability
from keras_moe.layers import CostBias, EarlyExit, TopKGate
from keras_moe.models import HydraNet, Patcher, upcycle
from keras_moe.models.arguments import RULES
from keras_moe.training import ImageBatches, Recipe, Round, SuperResolutionRecipe, partition_samples
from keras_moe.training.losses import RoutingLoss

pytestmark = pytest.mark.once

KERAS_OWN = ("name", "trainable", "dtype", "seed")


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3)])
def test_whole_numbers(value):
    assert integer("f", "n", value, 1, 3) == 3
    assert type(integer("f", "n", value)) is int
    assert number("f", "x", value) == 3
    assert type(number("f", "x", value)) is float


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float16(0.5), np.array(0.5)])
def test_other_numbers(value):
    assert type(number("f", "x", value, 0, 1)) is float
    assert number("f", "x", value) == 0.5
    with pytest.raises(ValueError, match=r"f: `n` must be an int\. Received: n="):
        integer("f", "n", value)


@pytest.mark.parametrize("value", [True, np.True_, "3", None, [3], np.array([3]), math.nan, np.inf, 1j, np.array("3")])
def test_no_numbers(value):
    with pytest.raises(ValueError, match=r"f: `n` must be an int >= 1\. Received: n="):
        integer("f", "n", value, 1)
    with pytest.raises(ValueError, match=r"f: `x` must be a finite float\. Received: x="):
        number("f", "x", value)


def test_ranges_are_said():
    for limits, text in (
        ({"least": 0, "most": 1}, r"a float in \[0, 1\]"),
        ({"least": 0, "below": 1}, r"a float in \[0, 1\)"),
        ({"above": 0}, "a float > 0"),
        ({"least": 9}, "a float >= 9"),
        ({"above": 0, "most": 1, "or_none": True}, r"None or a float in \(0, 1\]"),
    ):
        with pytest.raises(ValueError, match=f"must be {text}. Received"):
            number("f", "x", -5, **limits)
    assert number("f", "x", None, or_none=True) is None
    for edge, limits in ((0, {"above": 0}), (1, {"below": 1})):
        with pytest.raises(ValueError, match="`x`"):
            number("f", "x", edge, **limits)
    for wrong, check in ((1, flag), ("no", flag), (None, sizes), ((8, 0), sizes), ((8, 8.0), sizes)):
        with pytest.raises(ValueError, match="`x` must be"):
            check("f", "x", wrong)
    assert sizes("f", "x", np.array([8, 9])) == (8, 9)
    assert type(flag("f", "x", np.True_)) is bool


def from_numpy(value):
    kinds = {bool: np.bool_, int: np.int64, float: np.float64}
    if type(value) in kinds:
        return kinds[type(value)](value)
    return type(value)(map(from_numpy, value)) if isinstance(value, (tuple, list)) else value


def maker(made):
    """What makes another of a configuration; a model's network is read once, since a refusal takes nothing of it."""
    config = made.get_config()
    for name in ("classifier", "network"):
        if name in config and isinstance(made, keras.Model):
            network = keras.saving.deserialize_keras_object(copy.deepcopy(config[name]))
            make = getattr(made, f"from_{name}")
            return lambda config: make(**{**config, name: network})
    return lambda config: type(made)(**config)


@each
def test_configurations(d):
    made = shared(d)
    make = maker(made)
    config, bad = made.get_config(), {int: (True, 2.0, "2"), float: (True, "2", math.nan), bool: ("no", 2)}
    plain = json.dumps(config)
    own = {name: value for name, value in config.items() if name not in KERAS_OWN}
    for name, value in own.items():
        for wrong in bad.get(type(value), ()):
            with pytest.raises(ValueError, match=f"`{name}` must be"):
                make({**config, name: wrong})
    given = {name: value if isinstance(value, dict) else from_numpy(value) for name, value in own.items()}
    assert json.dumps(type(made).from_config({**config, **given}).get_config()) == plain


@pytest.mark.parametrize("name", sorted({"MoEModel"} ^ {n for n in vars(models) if n[0].isupper()}))
def test_every_number_among_a_model_s_arguments_has_a_rule(name):
    defaults = {name: p.default for name, p in inspect.signature(getattr(models, name)).parameters.items()}
    assert len(defaults) > 5
    assert {name for name, value in defaults.items() if isinstance(value, (bool, int, float))} <= RULES.keys()


def test_models_of_numpy_s_numbers_are_saved(tmp_path):
    classes = np.array([0, 4, 2]).max() + 1
    shape = np.zeros((1, 8, 8, 3)).shape[1:]
    model = HydraNet(np.array(shape), np.float32(0.5), "resnet8", np.int32(3), np.int64(1), classes=classes)
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").output_shape == (None, 5)
    assert upcycle(tiny_classifier(), num_experts=np.int64(2)).get_config()["num_experts"] == 2
    assert zoo.load("test_hydranet", classes=classes).output_shape == (None, 5)
    with pytest.raises(ValueError, match=r"`size\['heads'\]` must be"):
        Patcher(size={"heads": (1, 2.0)})


def test_the_early_exit_is_switched_off_again():
    for rule, off in (("confidence", 1.0), ("product", 0.0)):
        layer = EarlyExit(rule, np.float32(0.5))
        assert layer.threshold == 0.5
        layer.threshold = None
        assert layer.threshold == off == EarlyExit(rule).threshold
    model = zoo.load("test_single_gated", threshold=0.0)
    x = np.zeros((2, 8, 8, 1), "float32")
    assert not model.route(x).any()
    model.threshold = None
    assert model.route(x).any(1).all()


def test_knobs():
    gate, bias = TopKGate(2), CostBias([1, np.float32(2)])
    gate.drop_below, bias.cost_weight = np.float32(0.25), np.int64(3)
    assert (gate.drop_below, bias.cost_weight, bias.costs) == (0.25, 3.0, (1.0, 2.0))
    for knob, owner in (("drop_below", gate), ("cost_weight", bias), ("threshold", EarlyExit())):
        for wrong in (True, "0.5", math.nan):
            with pytest.raises(ValueError, match=f"`{knob}` must be"):
                setattr(owner, knob, wrong)


def test_recipes_are_plain_data():
    recipe = Recipe(np.int64(2), learning_rate=np.float32(0.5), augment=np.False_)
    assert json.loads(json.dumps(dataclasses.asdict(recipe)))["learning_rate"] == 0.5
    sr = SuperResolutionRecipe(np.int64(1), 1, 0, rounds=(Round("again", [np.int64(3), 0]),), share=np.float32(0.5))
    assert json.loads(json.dumps(dataclasses.asdict(sr)))["rounds"][0]["epochs"] == [3, 0]
    for wrong in ({"epochs": 2.0}, {"epochs": True}, {"epochs": 1, "learning_rate": math.nan}, {"epochs": None}):
        with pytest.raises(ValueError, match="Recipe: `"):
            Recipe(**wrong)
    with pytest.raises(ValueError, match="Round: `epochs` must be an int >= 0"):
        Round("again", (1, 2.0))
    assert RoutingLoss(np.float32(0.5)).get_config()["class_loss_weight"] == 0.5


def test_functions():
    route, rows = np.eye(3)[[0, 1, 2, 2]], np.arange(4)
    assert [len(found) for found in favourites(route, np.int64(1))] == [1, 1, 1]
    probabilities = np.full((4, 2), 0.5)
    assert len(reliability(probabilities, rows % 2, np.int64(5)).count) == 5
    batches = ImageBatches(np.zeros((4, 8, 8, 3), "uint8"), rows, np.int64(2), seed=np.int64(1))
    assert len(batches) == 2
    for refused in (
        lambda: favourites(route, 1.0),
        lambda: reliability(probabilities, rows % 2, True),
        lambda: metrics.expected_calibration_error([0.5], [True], 15.0),
        lambda: ImageBatches(batches.images, rows, 2.0),
        lambda: partition_samples(np.eye(4), "2"),
        lambda: zoo.decode_predictions(np.ones((1, 10)), "test_hydranet", top=True),
        lambda: zoo.load("test_hydranet").route(batches.images, batch_size=0),
    ):
        with pytest.raises(ValueError, match="must be an int"):
            refused()
    assert len(zoo.decode_predictions(np.ones((1, 10)), "test_hydranet", top=np.int64(3))[0]) == 3
