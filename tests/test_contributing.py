"""CONTRIBUTING.md, followed to the letter in a copy of the package: a sixth system; and the paths it names exist."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
COMMAND = re.search(r"```sh\npython (.*)\n```", PAGE)[1].split()

USE = """
import numpy as np
from keras_moe import zoo
from keras_moe.weights import read_tensors
(name,) = zoo.list_models()
card, model = zoo.card(name), zoo.load(name, classifier_activation=None)
assert (card.system, card.model, card.recipe) == ("pair", "PairMoE", "keras_moe.recipes.pair_digits")
assert 0 < card.macs_executed < card.macs_total == model.macs_total
golden = read_tensors(zoo.store.fetch(name, card.file("golden.safetensors")))
outputs, route = model.predict_routed(golden["images"])
np.testing.assert_allclose(outputs, golden["outputs"], atol=1e-3)
assert ((route != 0).sum(-1) == 1).all()
print(card.metrics[0].value)
"""


@pytest.mark.once
def test_a_sixth_system(tmp_path):
    shutil.copy(ROOT / "keras_moe_cli.py", tmp_path)
    shutil.copytree(ROOT / "keras_moe", tmp_path / "keras_moe", ignore=shutil.ignore_patterns("__pycache__"))
    for path, code in BLOCKS:
        with (tmp_path / path).open("a", encoding="utf-8") as file:
            file.write(code)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def python(*arguments):
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "published in" in python(*COMMAND)
    assert {path.name for path in (tmp_path / "zoo" / "pair_digits").iterdir()} == {
        "card.toml", "golden.safetensors", "labels.txt", "log.json", "metrics.json", "weights.safetensors",
    }  # fmt: skip
    assert float(python("-c", USE).splitlines()[-1]) > 0.5
    assert "pair_digits" in python("-c", "import keras_moe_cli; keras_moe_cli.main(['list'])")


def test_the_places_that_the_page_names_exist():
    places = re.findall(r"\| `(\S+)` \|", PAGE.split("## Where to find what")[1])
    assert places
    assert not [place for place in places if not (ROOT / place).is_file()]
