"""Every parser of strangers' data, against the same few hundred cases each time; ``make fuzz`` draws new ones."""

import pytest
from hypothesis import HealthCheck, given, settings
from parsers import PARSERS

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("ignore")]

SLOW = {"architecture": 6, "folder": 30}


@pytest.fixture
def fresh():
    """Nothing here leaves state in Keras, and clearing it costs more than these tests."""


@pytest.mark.parametrize("name", PARSERS)
def test_returns_or_refuses(name, monkeypatch):
    monkeypatch.setenv("KERAS_MOE_OFFLINE", "1")
    cases, check = PARSERS[name]

    @settings(
        max_examples=SLOW.get(name, 150), derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(cases)
    def holds(case):
        check(case)

    holds()
