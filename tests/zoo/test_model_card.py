"""Cards are read strictly, written deterministically, and come back as they were."""

import dataclasses
import tomllib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_zoo import example_card

from keras_moe.zoo import toml
from keras_moe.zoo.model_card import WEIGHTS, check_name, parse_card
from keras_moe.zoo.sources import Folder
from keras_moe.zoo.writing import pin, write_card

pytestmark = pytest.mark.once

GOLDEN = """\
name = "tiny"
system = "hydranet"
task = "classification"
summary = "A tiny HydraNet for tests."
paper = "Mullapudi et al., CVPR 2018"
paper_url = "https://openaccess.thecvf.com"
license = "Apache-2.0"
model = "HydraNet"
params = 1000
macs_total = 9000
macs_executed = 4000.5
recipe = "recipe.py"
recipe_note = "no training"

[data]
name = "none"
license = "CC0-1.0"
source = "random numbers"
url = "https://example.org"

[input]
shape = [8, 8, 3]
range = "[0, 255]"
channels = "RGB"

[config]
alpha = 0.5
backbone = "resnet8"
gate_filters = 0
input_shape = [8, 8, 3]
num_experts = 3
top_k = 1

[[metrics]]
name = "top-1"
value = 0.2
split = "test"
seeds = [0, 1]
per_seed = [0.1, 0.3]
note = ""
unit = ""

[[files]]
name = "weights.safetensors"
size = 7
sha256 = "1785cfc3bc6ac7738e8b38cdccd1af12563c2b9070e07af336a1bf8c0f772b6a"
"""


@pytest.fixture
def fresh():
    """Nothing here leaves state in Keras, and clearing it costs more than these tests."""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "tiny").mkdir()
    return tmp_path / "tiny" / "card.toml"


def read(path):
    return Folder(path.parent).card()


def rewrite(path, old, new):
    write_card(example_card(), path.parent)
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def test_written_text(path):
    write_card(example_card(), path.parent)
    assert path.read_text("utf-8") == GOLDEN
    assert path.with_name("labels.txt").read_text("utf-8") == "ant\nbee\ncicada\ndragonfly\nearwig\n"


def test_equal_cards_give_equal_text(path):
    card = example_card()
    write_card(dataclasses.replace(card, config=dict(reversed(card.config.items()))), path.parent)
    assert path.read_text("utf-8") == GOLDEN


def test_round_trip(path):
    card = example_card(
        summary='Ünïcode 🐜, "quotes", \\back\\slashes\\, tab\t, newline\n, DEL \x7f and control \x01.',
        macs_executed=1e-7,
        baseline="dense-tiny",
        config={"dropout_rate": 1e-16, "include_preprocessing": False, "classes": 2, "name": "x"},
        classes=("été", "two words"),
        files=(pin(WEIGHTS, b"a"), pin("tiny-int8.tflite", b"b")),
        metrics=(),
    )
    write_card(card, path.parent)
    assert read(path) == card


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.from_regex("[a-z]{1,5}", fullmatch=True), st.text() | st.integers() | st.booleans()))
def test_toml_round_trip(values):
    assert tomllib.loads(toml.toml(values)) == values


def test_a_published_card_is_named_like_its_folder(path):
    write_card(example_card(), path.parent)
    labels = path.with_name("labels.txt").read_bytes()
    with pytest.raises(ValueError, match=r"expected the folder's, 'huge'\. Received: 'tiny'"):
        parse_card(path.read_bytes(), labels, path, "huge")


def test_every_problem_in_one_error(path):
    rewrite(path, 'task = "classification"\n', 'tasks = "x"\n')
    text = path.read_text("utf-8").replace("params = 1000", "params = true").replace("size = 7", "size = 7.0")
    text = text.replace('channels = "RGB"', 'channels = ""').replace("per_seed = [0.1,", "per_seed = [nan,")
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError) as raised:
        read(path)
    for problem in (
        "tasks: unknown key",
        "task: missing",
        "params: expected int. Received: True",
        "files[0].size: expected int. Received: 7.0",
        "input.channels: is empty",
        "metrics[0].per_seed[0]: expected a finite number. Received: nan",
    ):
        assert f"\n  {problem}" in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "tiny"', "nam", "is not TOML"),
        ('name = "tiny"', "x = " + "[" * 5000, "is not TOML"),
        ('name = "tiny"', 'name = "tiny"\nclasses = ["a"]', "classes: unknown key"),
        ('name = "tiny"', 'name = "tiny"\nname = "tiny"', "is not TOML"),
        ("[data]", "[[data]]", "data: expected Data"),
        ("[[files]]", "[files]", "files: expected tuple"),
        ('model = "HydraNet"', 'model = "MoEModel"', "model must be a class of keras_moe.models"),
        ('model = "HydraNet"', 'model = "os"', "model must be a class of keras_moe.models"),
        ("alpha = 0.5", "beta = 0.5", "config may only hold"),
        ("alpha = 0.5", 'weights = "/etc/passwd"', "config may only hold"),
        ("alpha = 0.5", "classes = 6", "config.classes must be the number of labels"),
        ('task = "classification"', 'task = "poetry"', "task must be one of"),
        ("shape = [8, 8, 3]", "shape = [8, 8]", "input.shape must be"),
        ("macs_total = 9000", "macs_total = 90", "macs must be"),
        ("params = 1000", "params = 0", "params must be positive"),
        ('recipe = "recipe.py"', 'recipe = "../recipe.py"', "plain names"),
        ('name = "weights.safetensors"', 'name = "weights.h5"', "hold weights.safetensors"),
        ('name = "weights.safetensors"', 'name = "/weights.safetensors"', "files[0]: Expected a name"),
        ('sha256 = "', 'sha256 = "A', "files[0]: Expected a size of 1 byte"),
        ("size = 7", "size = 0", "files[0]: Expected a size of 1 byte"),
        ("seeds = [0, 1]", "seeds = [0]", "metrics[0]: Expected one number per seed"),
        ("seeds = [0, 1]", 'seeds = [0, "1"]', "metrics[0].seeds[1]: expected int"),
    ],
)
def test_refused(path, old, new, message):
    rewrite(path, old, new)
    with pytest.raises(ValueError) as raised:
        read(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("labels", [b"", b"a\na\n", b"a\n\nb\n", b" a\n", b"a\n\n", b"\xff\n", "\ufeffa\n".encode()])
def test_refused_labels(path, labels):
    write_card(example_card(), path.parent)
    path.with_name("labels.txt").write_bytes(labels)
    with pytest.raises(ValueError, match="labels"):
        read(path)


def test_labels_with_windows_line_ends(path):
    write_card(example_card(), path.parent)
    path.with_name("labels.txt").write_bytes(b"a\r\nb\r\n")
    assert read(path).classes == ("a", "b")


def test_a_card_that_could_not_be_read_is_not_written(path):
    with pytest.raises(ValueError, match=r"Received: .*numpy\.int64"):
        write_card(example_card(params=np.int64(3)), path.parent)
    with pytest.raises(ValueError, match="is empty"):
        write_card(example_card(model=""), path.parent)
    assert not list(path.parent.iterdir())


def test_numpy_floats_are_written_as_numbers(path):
    write_card(example_card(macs_executed=np.float64(0.1)), path.parent)
    assert read(path).macs_executed == 0.1


def test_file_by_name():
    card = example_card()
    assert card.file("weights.safetensors").size == 7
    with pytest.raises(ValueError, match=r"has no file 'x'. Expected one of \['weights.safetensors'\]"):
        card.file("x")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a..b",
        "../a",
        "/a",
        "a/b",
        "a\\b",
        "a\0",
        "a\n",
        "A",
        "-a",
        ".a",
        "é",
        "c:a",
        "~a",
        "a" * 101,
        None,
        b"a",
    ],
)
def test_hostile_names(name):
    with pytest.raises(ValueError, match="Expected a name"):
        check_name(name)
