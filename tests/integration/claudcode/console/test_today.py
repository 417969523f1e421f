"""The home's figures: what they add up to, who is kept among the busiest, and for whom."""

import datetime as dt
import uuid

import pytest
from django.core.cache import cache

from claudcode import stores, tasks
from claudcode.console.today import KEPT, figures, keep
from tests.factories import a_key, a_team
from tests.ledger_events import a_closing, an_opening, append_event
from usage import ledger, reports
from usage.models import Backfill, GroupRollup

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

NOW = dt.datetime(2026, 11, 20, 12, 30, tzinfo=dt.UTC)


@pytest.fixture
def used(valkey):
    """Settle an exchange of a key some hours before NOW, and write it to the ledger."""

    def used(apikey, hours_ago, requested="claude-haiku-4-5", **closing):
        at = NOW - dt.timedelta(hours=hours_ago)
        held = {"apikey_id": apikey.pk, "team_id": apikey.team_id}
        opening = an_opening(**held, model_requested=requested)
        at_ms = int(at.timestamp() * 1000)
        append_event(valkey, opening, a_closing(**closing), charged_at_ms=at_ms)
        ledger.drain()

    return used


def costs() -> tuple[int, int]:
    today, yesterday = figures(NOW, 8).so_far(NOW)
    return today.cost_nanousd, yesterday.cost_nanousd


def busiest(most=8) -> list[tuple[int, int]]:
    return [(pk, each.cost_nanousd) for pk, each in figures(NOW, most).busiest]


def test_today_is_held_against_yesterday_by_now(used):
    apikey = a_key()
    used(apikey, 1, cost_nanousd=5)
    used(apikey, 25, cost_nanousd=3)  # Yesterday at 11:30.
    used(apikey, 24, cost_nanousd=8)  # Yesterday at 12:30: of that hour half has passed.
    used(apikey, 20, cost_nanousd=100)  # Yesterday at 16:30: later than now.
    assert costs() == (5, 7)


def test_while_old_entries_are_added_to_the_sums_those_by_key_count(used):
    used(a_key(), 1, cost_nanousd=5)
    GroupRollup.objects.all().delete()
    assert costs() == (0, 0)
    Backfill.objects.create(exchange_id=uuid.uuid4())
    assert costs() == (5, 0)


def test_what_has_no_model_counts_too(used):
    used(a_key(), 1, cost_nanousd=5)
    used(a_key(), 1, cost_nanousd=2, requested="", model_answered="")
    assert costs() == (7, 0)
    assert list(figures(NOW, 8).costs_by_model(NOW - reports.DAY)) == ["claude-haiku-4-5", ""]


def test_the_busiest_are_of_the_whole_day(used):
    early, late, both = a_key(), a_key(), a_key()
    used(early, 9, cost_nanousd=50)
    used(late, 0, cost_nanousd=60)
    for hours_ago in (9, 0):
        used(both, hours_ago, cost_nanousd=40)
    assert busiest(2) == [(both.pk, 80), (late.pk, 60)]
    assert busiest(2) == [(both.pk, 80), (late.pk, 60)]  # Now out of what was kept.


def test_who_was_busy_hours_ago_is_looked_up_by_a_task_alone(used):
    early, late = a_key(), a_key()
    used(early, 9, cost_nanousd=50)
    assert busiest() == [(early.pk, 50)]
    used(late, 9, cost_nanousd=60)  # Drained late.
    assert busiest() == [(early.pk, 50)]
    keep(NOW)
    assert busiest() == [(late.pk, 60), (early.pk, 50)]


def test_what_was_kept_yesterday_is_no_more_of_use(used):
    early = a_key()
    used(early, 9, cost_nanousd=50)
    keep(NOW - reports.DAY)
    assert busiest() == [(early.pk, 50)]


def test_the_task_keeps_them():
    tasks.keep_busiest()
    assert cache.get(KEPT)["apikey_ids"] == []


def test_some_teams_alone_are_added_up_and_nothing_is_kept(used):
    team = a_team()
    mine = a_key(team=team)
    used(mine, 8, cost_nanousd=5)
    used(a_key(team=a_team()), 8, cost_nanousd=7)
    found = figures(NOW, 8, team__in=[team.pk])
    assert found.so_far(NOW)[0].cost_nanousd == 5
    assert [pk for pk, _ in found.busiest] == [mine.pk]
    assert cache.get(KEPT) is None


def test_models_are_told_apart_the_dearest_first(used):
    apikey = a_key()
    used(apikey, 0, cost_nanousd=5, model_answered="claude-haiku-4-5")
    used(apikey, 5, cost_nanousd=9, model_answered="claude-opus-4-5")
    found = figures(NOW, 8).costs_by_model(NOW - reports.DAY)
    assert list(found) == ["claude-opus-4-5", "claude-haiku-4-5"]


def test_without_valkey_all_is_added_up(used, settings):
    apikey = a_key()
    used(apikey, 8, cost_nanousd=5)
    settings.CACHES = {"default": stores.cache("redis://127.0.0.1:1/0")}
    assert busiest() == [(apikey.pk, 5)]
