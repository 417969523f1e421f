"""The home's figures: what is kept of the past, what is added up anew, and for whom."""

import datetime as dt

import pytest
from django.core.cache import cache

from claudcode import stores
from claudcode.console.today import KEPT, figures
from tests.factories import a_key, a_team
from tests.ledger_events import a_closing, an_opening, append_event
from usage import ledger, reports

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

NOW = dt.datetime(2026, 11, 20, 12, 30, tzinfo=dt.UTC)


@pytest.fixture
def used(valkey):
    """Settle an exchange of a key some hours before NOW, and write it to the ledger."""

    def used(apikey, hours_ago, **closing):
        at = NOW - dt.timedelta(hours=hours_ago)
        opening = an_opening(apikey_id=apikey.pk, team_id=apikey.team_id)
        at_ms = int(at.timestamp() * 1000)
        append_event(valkey, opening, a_closing(**closing), charged_at_ms=at_ms)
        ledger.drain()

    return used


def costs(**arguments) -> tuple[int, int]:
    today, yesterday = figures(NOW, 8, **{"fresh": True} | arguments).so_far(NOW)
    return today.cost_nanousd, yesterday.cost_nanousd


def test_today_is_held_against_yesterday_by_now(used):
    apikey = a_key()
    used(apikey, 1, cost_nanousd=5)
    used(apikey, 25, cost_nanousd=3)  # Yesterday at 11:30.
    used(apikey, 24, cost_nanousd=8)  # Yesterday at 12:30: of that hour half has passed.
    used(apikey, 20, cost_nanousd=100)  # Yesterday at 16:30: later than now.
    assert costs() == (5, 7)
    assert costs() == (5, 7)  # Now out of what was kept.


def test_the_past_is_kept_and_the_present_added_to_it(used):
    apikey = a_key()
    used(apikey, 8, cost_nanousd=5)
    assert costs() == (5, 0)
    used(apikey, 0, cost_nanousd=1)
    used(apikey, 1, cost_nanousd=2)
    assert costs() == (8, 0)
    used(apikey, 8, cost_nanousd=10)  # Drained late.
    assert costs() == (8, 0)
    cache.delete(KEPT)
    assert costs() == (18, 0)


def test_what_was_kept_for_long_is_renewed(used, monkeypatch):
    apikey = a_key()
    used(apikey, 8, cost_nanousd=5)
    assert costs() == (5, 0)
    used(apikey, 8, cost_nanousd=10)
    monkeypatch.setattr("claudcode.console.today.KEPT_S", 0)
    assert costs(fresh=False) == (5, 0)
    assert costs() == (15, 0)


def test_the_busiest_are_of_the_whole_day(used):
    early, late, both = a_key(), a_key(), a_key()
    used(early, 9, cost_nanousd=50)
    used(late, 0, cost_nanousd=60)
    for hours_ago in (9, 0):
        used(both, hours_ago, cost_nanousd=40)
    for _ in range(2):
        ranked = figures(NOW, 2, fresh=True).busiest
        assert [(pk, each.cost_nanousd) for pk, each in ranked] == [(both.pk, 80), (late.pk, 60)]


def test_some_teams_alone_are_added_up_and_nothing_is_kept(used):
    team = a_team()
    mine = a_key(team=team)
    used(mine, 8, cost_nanousd=5)
    used(a_key(team=a_team()), 8, cost_nanousd=7)
    found = figures(NOW, 8, fresh=True, team__in=[team.pk])
    assert found.so_far(NOW)[0].cost_nanousd == 5
    assert [pk for pk, _ in found.busiest] == [mine.pk]
    assert costs() == (12, 0)


def test_models_are_told_apart_the_dearest_first(used):
    apikey = a_key()
    used(apikey, 0, cost_nanousd=5, model_answered="claude-haiku-4-5")
    used(apikey, 5, cost_nanousd=9, model_answered="claude-opus-4-5")
    found = figures(NOW, 8, fresh=True).costs_by_model(NOW - reports.DAY)
    assert list(found) == ["claude-opus-4-5", "claude-haiku-4-5"]


def test_without_valkey_all_is_added_up(used, settings):
    used(a_key(), 8, cost_nanousd=5)
    settings.CACHES = {"default": stores.cache("redis://127.0.0.1:1/0")}
    assert costs() == (5, 0)
