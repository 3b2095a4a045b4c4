"""The variables of published models keep names and shapes: users have weights that are stored under them.

``python tests/zoo/test_variables.py`` (part of ``make cards``) adds new models to the list. A model whose variables are
others on purpose gets a new name, or is taken out of ``variables.json`` with a line in the changelog.
"""

import json
import pathlib

import pytest

from keras_moe import zoo
from keras_moe.zoo.architecture import arguments_of, skeleton

pytestmark = pytest.mark.once

LIST = pathlib.Path(__file__).with_name("variables.json")
KEPT = json.loads(LIST.read_text("utf-8"))


def variables(name):
    """Name -> shape of the variables of a published model."""
    card = zoo.card(name)
    return {path: list(shape) for path, shape in skeleton(card.model, arguments_of(card)).items()}


def differences(kept, current):
    """Lines on the variables that are gone, new or of another shape."""
    return [
        f"{path}: expected {kept.get(path)}, received {current.get(path)}"
        for path in sorted(kept.keys() | current.keys())
        if kept.get(path) != current.get(path)
    ]


def test_every_published_model_is_in_the_list():
    assert sorted(KEPT) == zoo.list_models(), "run `make cards`"


@pytest.mark.parametrize("name", KEPT)
def test_names_and_shapes_are_kept(name):
    assert differences(KEPT[name], variables(name)) == []


def test_a_rename_is_seen():
    kept = {"gate/kernel": [3, 4], "head/bias": [2]}
    assert differences(kept, {"router/kernel": [3, 4], "head/bias": [3]}) == [
        "gate/kernel: expected [3, 4], received None",
        "head/bias: expected [2], received [3]",
        "router/kernel: expected None, received [3, 4]",
    ]


def main():
    lists = {name: KEPT.get(name) or variables(name) for name in zoo.list_models()}
    lines = (f"{json.dumps(name)}: {json.dumps(lists[name])}" for name in sorted(lists))
    LIST.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
