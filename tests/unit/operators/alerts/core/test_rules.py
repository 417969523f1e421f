"""What raises an alert, and which crossing it counts as."""

import datetime as dt

import pytest

from operators.alerts.core.rules import (
    BudgetUse,
    Habit,
    Subject,
    budget_findings,
    expiry_findings,
    resting_long,
    unusual,
)

NOW = dt.datetime(2026, 3, 2, 12, 30, tzinfo=dt.UTC)
USD = 1_000_000_000


def a_use(**fields):
    given = {
        "window_name": "k1.0:tok:18000",
        "subject": Subject.APIKEY,
        "subject_id": 1,
        "subject_name": "laptop",
        "team_id": None,
        "used": 0,
        "limit": 1000,
        "window_s": 18_000,
        "amounts": "some of 1,000 tokens / 5h",
    }
    return BudgetUse(**given | fields)


@pytest.mark.parametrize(
    ("used", "reached"),
    [
        pytest.param(499, [], id="below half"),
        pytest.param(500, [50], id="exactly half"),
        pytest.param(899, [50, 75], id="almost 90 %"),
        pytest.param(1000, [50, 75, 90, 100], id="all"),
        pytest.param(5000, [50, 75, 90, 100], id="overspent"),
    ],
)
def test_a_budget_reaches_levels(used, reached):
    assert [f.threshold for f in budget_findings(a_use(used=used), NOW)] == reached


def test_only_the_highest_level_is_sent():
    quiet = [finding.quiet for finding in budget_findings(a_use(used=950), NOW)]
    assert quiet == [True, True, False]


def test_a_limit_of_nothing_is_not_used_up():
    assert budget_findings(a_use(used=0, limit=0), NOW) == []


def slots(*uses_and_times):
    return len({budget_findings(use, at)[0].slot for use, at in uses_and_times})


def test_a_rolling_window_counts_in_steps_of_its_length():
    use = a_use(used=600, window_s=3600)
    hour, half = dt.timedelta(hours=1), dt.timedelta(minutes=29)
    assert slots((use, NOW), (use, NOW + half)) == 1
    assert slots((use, NOW), (use, NOW + hour)) == 2


def test_a_window_of_minutes_is_told_of_once_an_hour():
    use = a_use(used=600, window_s=60)
    assert slots((use, NOW), (use, NOW + dt.timedelta(minutes=29))) == 1


def test_an_anchored_window_counts_from_its_own_beginning():
    ends = NOW + dt.timedelta(hours=1)
    use = a_use(used=600, ends_at=ends)
    assert budget_findings(use, NOW)[0].slot == ends - dt.timedelta(seconds=18_000)


def test_a_reset_begins_another_crossing():
    reset = a_use(used=600, reset_at=NOW)
    assert slots((a_use(used=600), NOW), (reset, NOW)) == 2


@pytest.mark.parametrize(
    ("days", "near"),
    [
        pytest.param(8, [], id="not yet"),
        pytest.param(7, [7], id="a week"),
        pytest.param(1, [7, 1], id="a day"),
        pytest.param(0, [], id="has expired"),
    ],
)
def test_keys_that_expire_are_told_of(days, near):
    found = expiry_findings(1, "laptop", None, NOW + dt.timedelta(days=days), NOW)
    assert [finding.threshold for finding in found] == near


@pytest.mark.parametrize(
    ("spent", "habit", "expected"),
    [
        pytest.param(3 * USD, Habit(24, USD), True, id="three times its high hours"),
        pytest.param(3 * USD - 1, Habit(24, USD), False, id="not quite"),
        pytest.param(9 * USD, Habit(23, USD), False, id="no habit yet"),
        pytest.param(USD - 1, Habit(99, 1), False, id="below a dollar"),
    ],
)
def test_spend_is_held_against_the_keys_own_habit(spent, habit, expected):
    assert unusual(spent, habit) is expected


@pytest.mark.parametrize(
    ("left_s", "seen_s", "expected"), [(10, 60, False), (300, 0, True), (5, 300, True)]
)
def test_a_long_rest_is_one_with_much_to_go_or_seen_again_and_again(left_s, seen_s, expected):
    assert resting_long(left_s, seen_s) is expected
