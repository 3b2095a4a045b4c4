"""SECURITY.md promises nothing without a test."""

import pathlib
import re

import pytest

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[2]
ROWS = re.findall(r"^\| (?!hazard)([^-].+?) \| .+ \| (.+) \|$", (ROOT / "SECURITY.md").read_text("utf-8"), re.MULTILINE)
TEXTS = {path: path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")}


@pytest.mark.parametrize(("hazard", "tests"), ROWS)
def test_every_promise_names_tests_that_exist(hazard, tests):
    names = re.findall(r"`(test_\w+)`", tests)
    assert ", ".join(f"`{name}`" for name in names) == tests
    files = {name: [path.name for path, text in TEXTS.items() if f"\ndef {name}(" in text] for name in names}
    assert {name: found for name, found in files.items() if len(found) != 1} == {}


def test_every_attack_has_a_promise():
    assert len(ROWS) > 15
    named = set(re.findall(r"`(test_\w+)`", " ".join(tests for _, tests in ROWS)))
    attacks = {path: text for path, text in TEXTS.items() if path.parent.name == "hostile"}
    del attacks[pathlib.Path(__file__)]
    assert [path.name for path, text in attacks.items() if not named & set(re.findall(r"\ndef (\w+)\(", text))] == []
