"""SECURITY.md promises nothing without a test."""

import pathlib
import re

import pytest

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[2]
ROWS = re.findall(r"^\| (?!hazard|---)(.+?) \| .+ \| (.+) \|$", (ROOT / "SECURITY.md").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("hazard", "tests"), ROWS)
def test_every_promise_names_tests_that_exist(hazard, tests):
    named = re.findall(r"`(tests/\S+\.py)::(\w+)`", tests)
    assert len(named) == tests.count("`") / 2 > 0
    assert [name for path, name in named if f"\ndef {name}(" not in (ROOT / path).read_text("utf-8")] == []


def test_every_file_of_attacks_is_named():
    assert len(ROWS) > 15
    files = {path.name for path in (ROOT / "tests" / "hostile").glob("test_*.py")} - {pathlib.Path(__file__).name}
    assert [name for name in files if not any(name in tests for _, tests in ROWS)] == []
