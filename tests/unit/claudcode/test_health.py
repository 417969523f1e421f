"""How far behind the ledger is."""

import pytest

from claudcode.health import drain_lag_s


@pytest.mark.parametrize(
    ("oldest", "expected"),
    [
        pytest.param([], 0.0, id="nothing waits"),
        pytest.param(["9500-0", "7000-3"], 3.0, id="the oldest counts: (10,000 - 7,000) ms"),
        pytest.param(["10500-0"], 0.0, id="a clock that jumped back is no lag"),
    ],
)
def test_lag_is_the_age_of_the_oldest_undrained_event(oldest, expected):
    assert drain_lag_s(10_000, oldest) == expected
