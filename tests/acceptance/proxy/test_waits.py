"""What takes a minute; it began with the first test (conftest.py)."""

import pytest

from claudcode.http import HEAD_SECONDS_MAX

pytestmark = pytest.mark.slow


def test_a_head_that_never_ends_is_cut_off(long_waits):
    assert HEAD_SECONDS_MAX - 1 < long_waits.slow_head_s.result() < HEAD_SECONDS_MAX + 5


def test_requests_of_a_minute_are_back_when_it_said_and_not_a_second_earlier(long_waits):
    minute = long_waits.minute.result()
    assert (minute.just_before, minute.at_the_end) == (429, 200)
