"""Sums for the console: by hour, by day, by key, against yesterday, and for cold windows."""

import datetime as dt

import pytest

from keys.core.limits import Limit, Unit
from tests.factories import a_budget, a_key, a_team
from tests.ledger_events import a_closing, an_opening, append_event
from usage import ledger, reports
from usage.catching_up import rebuild
from usage.core.event import ExchangeStatus
from usage.core.tokens import TokenUsage
from usage.standing import standings

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

NOW = dt.datetime(2026, 3, 2, 12, 30, tzinfo=dt.UTC)


@pytest.fixture
def used(valkey):
    """Settle an exchange of a key some hours before NOW, and write it to the ledger."""

    def used(apikey, hours_ago=0.0, **closing):
        at = NOW - dt.timedelta(hours=hours_ago)
        opening = an_opening(apikey_id=apikey.pk, team_id=apikey.team_id)
        at_ms = int(at.timestamp() * 1000)
        append_event(valkey, opening, a_closing(**closing), charged_at_ms=at_ms)
        ledger.drain()

    return used


def test_totals_count_every_kind_of_token(used):
    usage = TokenUsage(
        input_tokens=1, output_tokens=20, cache_creation_input_tokens=300, cache_read_input_tokens=4
    )
    used(a_key(), usage=usage)
    used(a_key(), usage=usage, status=ExchangeStatus.UPSTREAM_ERROR)
    found = reports.totals(NOW - reports.DAY, NOW)
    assert (found.requests, found.errors, found.tokens) == (2, 1, 650)


def test_hours_without_use_are_there(used):
    apikey = a_key()
    used(apikey, 2)
    since = NOW.replace(hour=9, minute=0)
    assert [s.totals.requests for s in reports.series(since, NOW, reports.HOUR)] == [0, 1, 0, 0]


def test_days_begin_at_midnight_utc(used):
    apikey = a_key()
    used(apikey, 12.25)  # At 00:15 today.
    used(apikey, 12.75)  # At 23:45 yesterday.
    since = reports.midnight(NOW) - 2 * reports.DAY
    days = reports.series(since, NOW, reports.DAY, apikey=apikey.pk)
    assert [(day.at.day, day.totals.requests) for day in days] == [(28, 0), (1, 1), (2, 1)]


def test_costs_are_told_by_model_the_dearest_first(used):
    apikey = a_key()
    used(apikey, model_answered="claude-haiku-4-5", cost_nanousd=2)
    used(apikey, model_answered="claude-opus-4-6", cost_nanousd=5)
    used(apikey, 1, model_answered="claude-haiku-4-5", cost_nanousd=1)
    since = reports.hour_of(NOW) - reports.HOUR
    found = reports.costs_by_model(since, NOW, reports.HOUR, apikey=apikey.pk)
    assert list(found) == ["claude-opus-4-6", "claude-haiku-4-5"]
    assert found["claude-haiku-4-5"] == {since: 1, since + reports.HOUR: 2}


def test_the_busiest_keys_come_by_cost(used):
    cheap, dear, idle = a_key(), a_key(), a_key()
    used(cheap, cost_nanousd=1)
    used(dear, cost_nanousd=2)
    used(idle, 30)
    found = reports.busiest(NOW - reports.DAY, NOW, 5)
    assert [pk for pk, _totals in found] == [dear.pk, cheap.pk]


def test_use_of_keys_takes_three_queries(used, django_assert_num_queries):
    apikey, idle = a_key(), a_key()
    used(apikey, 0, cost_nanousd=2)
    used(apikey, 23, cost_nanousd=3)
    with django_assert_num_queries(3):
        found = reports.uses([apikey.pk, idle.pk], NOW)
    mine = found[apikey.pk]
    assert (mine.today_nanousd, mine.month_nanousd) == (2, 5)
    assert (mine.spark[0], mine.spark[-1], sum(mine.spark)) == (1, 1, 2)
    assert mine.last_used_at == NOW
    assert found[idle.pk] == reports.Use()


def test_a_cold_window_is_counted_to_the_hour(used):
    apikey = a_key(team=a_team())
    used(apikey, 4.9, charged_tokens=1, cost_nanousd=50)  # At 07:36; the window begins at 07:30.
    used(apikey, 5.4, charged_tokens=20)  # At 07:06: too much, never too little.
    used(apikey, 6, charged_tokens=300)
    tokens = Limit(f"k{apikey.pk}.0", Unit.TOKENS, 18_000, 1_000)
    dollars = Limit(f"t{apikey.team_id}.0", Unit.NANOUSD, 18_000, 1_000)
    since = int(NOW.timestamp() * 1000) - 3_600_000
    emptied = Limit(f"k{apikey.pk}.0", Unit.TOKENS, 3 * 3_600, 1_000, reset_at_ms=since)
    found = reports.charged([tokens, dollars, emptied], NOW)
    assert found[tokens] == 21
    assert found[dollars] == 50 + 200_000
    assert found[emptied] == 0


@pytest.mark.parametrize("complete", [True, False])
def test_a_cold_month_of_a_team_is_counted_to_the_hour(used, complete):
    apikey, neighbour = a_key(team=a_team()), a_key(team=a_team())
    for hours in (1, 30, 24 * 29, 24 * 30 - 1):
        used(apikey, hours, charged_tokens=3, cost_nanousd=7)
    used(apikey, 24 * 30 + 2, charged_tokens=1000, cost_nanousd=1000)
    used(neighbour, 30, charged_tokens=5000, cost_nanousd=5000)
    if not complete:
        rebuild()
    scope = f"t{apikey.team_id}.0"
    tokens = Limit(scope, Unit.TOKENS, 30 * 86_400, 1_000)
    dollars = Limit(scope, Unit.NANOUSD, 30 * 86_400, 1_000)
    assert reports.charged([tokens, dollars], NOW) == {tokens: 12, dollars: 28}


def test_a_key_stands_by_the_roll_up_while_its_windows_are_cold(used):
    apikey = a_key(budgets=[])
    a_budget(apikey, window_s=18_000, limit=200)
    used(apikey, 1, charged_tokens=150)
    standing = standings([apikey], NOW)[apikey.pk]
    assert [(b.used, b.share, b.to_the_hour) for b in standing.budgets] == [(150, 0.75, True)]
    assert (standing.rpm, standing.in_flight) == (0, 0)


def test_without_valkey_the_roll_up_still_tells(used, settings):
    apikey = a_key(budgets=[])
    a_budget(apikey, window_s=18_000, limit=200)
    used(apikey, 1, charged_tokens=150)
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    standing = standings([apikey], NOW)[apikey.pk]
    assert (standing.rpm, standing.in_flight, standing.worst.used) == (None, None, 150)
