"""The first of a span by lists of hours and days are those whom everybody's sums put first."""

import datetime as dt
import random

import psycopg
import pytest
from django.db import connection

from tests.integration.usage.reading.test_sums import DAY, NOON, Q
from tests.ledger_events import NOON_MS, a_closing, an_opening, append_event
from usage import heavy_hitters, ledger, tasks
from usage.core.event import ExchangeStatus
from usage.models import HeavyHitters
from usage.reading.candidates import candidates
from usage.reading.question import Group, Span
from usage.reading.scope import everything, of_teams
from usage.reading.source import source_of
from usage.reading.totals import top

HOUR = dt.timedelta(hours=1)
HOUR_MS = 3_600_000
LATER = NOON + 45 * DAY
# The hour of the first exchange.
BEGAN = NOON.replace(minute=0)
BEGAN_MS = int(BEGAN.timestamp() * 1000)


@pytest.fixture(autouse=True)
def one_listed(monkeypatch):
    """Have lists so short that a handful of keys is a crowd."""
    monkeypatch.setattr(heavy_hitters, "LISTED", 1)
    monkeypatch.setattr(heavy_hitters, "HOURS_KEPT", 100 * DAY)


def used(valkey, apikey_id, tokens, at_ms=NOON_MS, **opening):
    closing = a_closing(charged_tokens=tokens, cost_nanousd=tokens)
    append_event(valkey, an_opening(apikey_id=apikey_id, **opening), closing, charged_at_ms=at_ms)


def of_few(span, group=Group.KEY, by="charged_tokens", most=1, scope=None, filters=None):
    scope = scope or everything()
    source = source_of(scope, group, filters)
    return candidates(scope, group, filters, source, span, by, most)


def make(now=LATER):
    assert not heavy_hitters.make(now, seconds_max=60)


def forget():
    HeavyHitters.objects.all().delete()


TEAMS = {1: 7, 2: 7, 3: 8, 4: 9, 5: None, 6: None}
# Hours after noon: some of an afternoon, of a whole day and of the morning after.
HOURS = (0, 1, 13, 14, 37, 38)
EDGES = (-1, 0, 1, 2, 5, 7, 52, 148, 151, 152, 154, 156)  # In quarters of an hour.


def write(valkey, dice, count):
    """Write exchanges of six keys in few hours of three days, some of them given up at first."""
    for _ in range(count):
        key = dice.choice([1, 1, 1, 1, 2, 2, 3, 4, 5, 6])
        # Now and then as another time that this exchange is heard of.
        exchange_id = f"{dice.randint(1, 80):032x}"
        opening = an_opening(exchange_id=exchange_id, apikey_id=key, team_id=TEAMS[key])
        tokens = dice.randint(0, 9 if dice.random() < 0.7 else 100)
        status = dice.choice([ExchangeStatus.COMPLETED, ExchangeStatus.ABANDONED])
        closing = a_closing(status=status, charged_tokens=tokens, cost_nanousd=200 - tokens)
        quarter = 4 * dice.choice(HOURS) + dice.randint(0, 3)
        append_event(valkey, opening, closing, charged_at_ms=BEGAN_MS + quarter * 900_000)
    ledger.drain()


@pytest.mark.parametrize("seed", range(8))
def test_the_first_are_the_same_with_lists_and_without(db, valkey, seed):
    dice = random.Random(seed)
    write(valkey, dice, 60)
    make()
    write(valkey, dice, dice.randint(0, 3))
    # Some lists are missing, some are of what was.
    made = list(HeavyHitters.objects.values_list("pk", flat=True))
    HeavyHitters.objects.filter(pk__in=dice.sample(made, len(made) // 8)).delete()
    told, by_lists = [], 0
    for _ in range(60):
        start, end = sorted(dice.sample(EDGES, 2))
        span = Span(BEGAN + start * Q, BEGAN + end * Q)
        group, by = dice.choice([Group.KEY, Group.TEAM]), dice.choice(heavy_hitters.RANKED)
        asked = (span, group, by, dice.randint(1, 2))
        told.append((asked, amounts(*asked)))
        by_lists += of_few(*asked) is not None
    assert by_lists > 10
    forget()
    for asked, expected in told:
        assert amounts(*asked) == expected, asked


def amounts(span, group, by, most):
    found = top(everything(), span.start, span.end, group, by=by, most=most)
    return [each.now[by] for each in found if each.now[by]]


def test_few_are_added_up_where_lists_say_who_is_first(db, valkey):
    for key, tokens in ((1, 1_000), (2, 30), (3, 20), (4, 10)):
        for hour in range(3):
            used(valkey, key, tokens, NOON_MS + hour * HOUR_MS)
    ledger.drain()
    span = Span(BEGAN, BEGAN + 3 * HOUR)
    assert of_few(span) is None
    make()
    with connection.execute_wrapper(only_reads("usage_heavyhitters")):
        assert of_few(span) == ["1"]


def only_reads(table):
    def look(execute, sql, params, many, context):
        assert table in sql, sql
        return execute(sql, params, many, context)

    return look


def test_everybody_is_asked_where_others_might_be_first(db, valkey):
    for hour in range(4):
        used(valkey, hour + 1, 100, NOON_MS + hour * HOUR_MS)
        used(valkey, 9, 99, NOON_MS + hour * HOUR_MS)
    ledger.drain()
    make()
    # Nobody lists 9, who used most.
    span = Span(BEGAN, BEGAN + 4 * HOUR)
    assert of_few(span) is None
    (first,) = top(everything(), span.start, span.end, Group.KEY, by="charged_tokens", most=1)
    assert (first.name, first.now["charged_tokens"]) == ("9", 396)


def test_whoever_is_near_enough_is_added_up_too(db, valkey):
    used(valkey, 1, 100)
    used(valkey, 2, 90, NOON_MS + HOUR_MS)
    for hour in range(2):
        used(valkey, 3, 20, NOON_MS + hour * HOUR_MS)
    ledger.drain()
    make()
    assert of_few(Span(BEGAN, BEGAN + 2 * HOUR)) == ["1", "2"]


def test_a_list_is_not_looked_at_once_its_hour_changed(db, valkey):
    used(valkey, 1, 100)
    ledger.drain()
    make()
    used(valkey, 2, 500)
    ledger.drain()
    span = Span(BEGAN, BEGAN + HOUR)
    assert of_few(span) is None
    make()
    made = HeavyHitters.objects.get(holder="k", grain="h")
    assert (made.ids, made.charged_tokens) == ([2], [500])
    assert made.rest[heavy_hitters.RANKED.index("charged_tokens")] == 100
    assert of_few(span) == ["2"]


def test_an_abandonment_that_was_settled_after_all_is_listed_as_settled(db, valkey):
    opening = an_opening(apikey_id=5)
    given_up = a_closing(status=ExchangeStatus.ABANDONED, charged_tokens=900)
    append_event(valkey, opening, given_up, charged_at_ms=NOON_MS)
    used(valkey, 6, 50)
    ledger.drain()
    make()
    append_event(valkey, opening, a_closing(charged_tokens=7), charged_at_ms=NOON_MS)
    ledger.drain()
    make()
    (first,) = top(everything(), NOON, NOON + HOUR, Group.KEY, by="charged_tokens", most=1)
    assert (first.name, first.now["charged_tokens"]) == ("6", 50)


def test_days_are_listed_and_days_of_teams_are_read(db, valkey):
    for day in range(3):
        used(valkey, 1, 1_000, NOON_MS + day * 24 * HOUR_MS, team_id=7)
        used(valkey, 2, 10, NOON_MS + day * 24 * HOUR_MS, team_id=8)
    ledger.drain()
    make()
    span = Span(NOON - HOUR, NOON + 3 * DAY)
    assert of_few(span) == ["1"]
    assert of_few(span, Group.TEAM) == ["7"]
    kinds = set(HeavyHitters.objects.values_list("holder", "grain"))
    assert kinds == {("k", "h"), ("k", "d"), ("t", "h")}


@pytest.mark.parametrize(
    ("group", "by", "scope", "filters"),
    [
        pytest.param(Group.MODEL, "requests", everything(), None, id="models"),
        pytest.param(Group.KEY, "hung_up", everything(), None, id="a measure without lists"),
        pytest.param(Group.KEY, "requests", of_teams([7]), None, id="teams"),
        pytest.param(Group.KEY, "requests", everything(), {Group.MODEL: "opus"}, id="a filter"),
    ],
)
def test_other_questions_have_no_lists(db, group, by, scope, filters):
    span = Span(BEGAN, BEGAN + HOUR)
    assert of_few(span, group, by, scope=scope, filters=filters) is None


def test_hours_that_run_are_not_listed_and_old_ones_not_for_ever(db, valkey, monkeypatch):
    used(valkey, 1, 100)
    ledger.drain()
    make(BEGAN + HOUR + dt.timedelta(minutes=1))
    assert not HeavyHitters.objects.exists()
    make(BEGAN + HOUR + dt.timedelta(minutes=5))
    assert set(HeavyHitters.objects.values_list("holder", "grain", "at")) == {
        ("k", "h", BEGAN),
        ("t", "h", BEGAN),
    }
    make()
    monkeypatch.setattr(heavy_hitters, "HOURS_KEPT", DAY)
    make()
    kept = HeavyHitters.objects.get()
    assert (kept.grain, kept.at) == ("d", BEGAN.replace(hour=0))


def test_what_one_call_leaves_the_next_makes(db, valkey):
    for hour in range(3):
        used(valkey, 1, 100, NOON_MS + hour * HOUR_MS)
    ledger.drain()
    assert heavy_hitters.make(LATER, seconds_max=-1)
    assert not HeavyHitters.objects.exists()
    make()
    assert HeavyHitters.objects.count() == 7


def test_one_process_at_a_time_makes_them(db, valkey):
    used(valkey, 1, 100)
    ledger.drain()
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [heavy_hitters.LOCK])
        assert heavy_hitters.make(LATER)
        assert not HeavyHitters.objects.exists()
    make()


def test_the_task_makes_them(db, valkey):
    used(valkey, 1, 100, NOON_MS)
    ledger.drain()
    tasks.list_heavy_hitters()
    assert HeavyHitters.objects.filter(grain="d").exists()
