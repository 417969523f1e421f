"""What dashboards are told equals what the ledger adds up to, on random histories and questions."""

import datetime as dt
from collections import Counter
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ledger_events import NOON_MS, a_closing, an_opening, append_event
from usage import catching_up, ledger
from usage.api import totals as interface
from usage.core.client import family
from usage.core.event import CacheOutcome, ExchangeStatus
from usage.core.histogram import ERROR_PERCENT
from usage.core.tokens import TokenUsage
from usage.models import HourlyRollup, LedgerEntry, RollupDelta
from usage.reading.hours import Length
from usage.reading.percentiles import Latency, percentiles
from usage.reading.question import MEASURES, Group, Step, Unanswerable
from usage.reading.scope import everything, of_keys, of_teams
from usage.reading.series import series
from usage.reading.totals import errors_by_type, top, totals
from usage.rolling import TABLES
from usage.verify import verify

NOON = dt.datetime.fromtimestamp(NOON_MS / 1000, dt.UTC)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu"]
AGENTS = ["", "claude-cli/2.1.330 (external)", "Anthropic/Python 2.12.0", "curl/8", "mine/1"]
ERRORS = ["", "", "overloaded_error", "Not A Type!"]
KEYS, TEAMS = {1: 7, 2: 7, 3: 8, 4: None}, [7, 8]
MINUTES = 60 * 24 * 40
DAY = dt.timedelta(days=1)


def an_event(number, draw):
    key = draw(st.sampled_from(sorted(KEYS)))
    error = draw(st.sampled_from(ERRORS))
    tokens = draw(st.integers(0, 500))
    status = draw(st.sampled_from(ExchangeStatus))
    opening = an_opening(
        exchange_id=f"{number:032x}",
        apikey_id=key,
        team_id=KEYS[key],
        model_requested=draw(st.sampled_from(["opus", "opus-20260101", "haiku"])),
        client_agent=draw(st.sampled_from(AGENTS)),
    )
    closing = a_closing(
        status=status,
        error_type=error,
        model_answered=draw(st.sampled_from(["", "haiku", "haiku-20260101"])),
        upstream=draw(st.sampled_from(["", "first", "second"])),
        usage=TokenUsage(*range(tokens, tokens + 6)),
        charged_tokens=tokens,
        cost_nanousd=tokens * 1_000,
        cache=draw(st.sampled_from(CacheOutcome)),
        first_byte_ms=draw(st.none() | st.integers(0, 10_000)),
        total_ms=draw(st.integers(0, 600_000)),
    )
    return opening, closing, NOON_MS + draw(st.integers(0, MINUTES)) * 60_000


@st.composite
def histories(draw):
    """Events, some of which are late settlements of the same exchange."""
    count = draw(st.integers(1, 25))
    return [an_event(draw(st.integers(1, 15)), draw) for _ in range(count)]


def tell(valkey, history):
    valkey.flushdb()
    written = ["usage_ledgerentry", "usage_hourlyrollup", "usage_rollupdelta"]
    names = ", ".join([*written, *(t.name for t in TABLES)])
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {names}")
    for number, (opening, closing, at_ms) in enumerate(history):
        append_event(valkey, opening, closing, charged_at_ms=at_ms)
        if number % 4 == 3:
            ledger.drain()
    ledger.drain()
    return list(LedgerEntry.objects.all())


def measured(entries, measure):
    return sum(_measure(entry, measure) for entry in entries)


def _measure(entry, measure):
    counted = {
        "requests": 1,
        "errors": entry.status in ("upstream_error", "gateway_error"),
        "hung_up": entry.status == "hung_up",
        "abandoned": entry.status == "abandoned",
        "cache_hits": entry.cache == "hit",
        "cache_misses": entry.cache == "miss",
    }
    return int(counted[measure] if measure in counted else getattr(entry, measure))


def told_apart(entry):
    named = entry.model_answered or entry.model_requested
    return {
        Group.KEY: str(entry.apikey_id),
        Group.TEAM: str(entry.team_id or ""),
        Group.MODEL: named.removesuffix("-20260101"),
        Group.UPSTREAM: entry.upstream,
        Group.CLIENT: family(entry.client_agent),
        Group.ERROR: "other" if " " in entry.error_type else entry.error_type,
    }


SCOPES = [
    pytest.param(everything(), lambda entry: True, id="everything"),
    pytest.param(of_teams([7]), lambda entry: entry.team_id == 7, id="a team"),
    pytest.param(of_keys([1, 4]), lambda entry: entry.apikey_id in (1, 4), id="keys"),
]
whatever = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@whatever
@given(folded=histories(), noted=histories(), data=st.data())
def test_the_interface_adds_up_alike_where_keys_are_told_apart_and_where_not(
    db, valkey, folded, noted, data
):
    tell(valkey, folded)
    for opening, closing, at_ms in noted:
        append_event(valkey, opening, closing, charged_at_ms=at_ms)
    append_event(valkey, an_opening(), a_closing(), charged_at_ms=NOON_MS)
    # What a drain does before it folds.
    for shard in ledger._oldest_ms(valkey):
        ledger._drain_batch(valkey, shard)
    assert RollupDelta.objects.exists()
    minutes = st.integers(-60, MINUTES + 60)
    since, until = (NOON + data.draw(minutes) * dt.timedelta(minutes=1) for _ in "ab")
    hours = HourlyRollup.objects.filter(hour__gte=since, hour__lt=until)
    for length, groups in ((Length.ALL, []), (Length.HOUR, ["hour"]), (Length.DAY, ["day"])):
        expected = interface._added_up(hours, groups)
        assert interface._of_everybody(since, until, length) == expected


def test_the_interface_asks_for_keys_while_old_entries_are_added(db, valkey):
    append_event(valkey, an_opening(), a_closing())
    ledger.drain()
    catching_up.rebuild()
    assert interface._of_everybody(NOON - DAY, NOON + DAY, Length.ALL) is None
    catching_up.tend()
    (row,) = interface._of_everybody(NOON - DAY, NOON + DAY, Length.ALL)
    assert row["requests"] == 1


@pytest.mark.parametrize(("scope", "seen"), SCOPES)
@whatever
@given(history=histories(), data=st.data())
def test_series_and_totals_equal_the_ledger(db, valkey, scope, seen, history, data):
    entries = [entry for entry in tell(valkey, history) if seen(entry)]
    zone = ZoneInfo(data.draw(st.sampled_from(ZONES)))
    step = data.draw(st.sampled_from([Step.HOUR, Step.DAY, Step.WEEK, Step.MONTH]))
    quarters = st.integers(-20, 4 * 24 * 42)
    start, end = sorted(NOON.replace(minute=0) + data.draw(quarters) * Q for _ in "ab")
    end += Q
    inside = [entry for entry in entries if start <= entry.settled_at < end]
    found = series(scope, start, end, step, zone, measures=MEASURES)
    expected = {measure: [0] * len(found.starts) for measure in MEASURES}
    for entry in inside:
        place = sum(at <= entry.settled_at for at in found.starts) - 1
        for measure in MEASURES:
            expected[measure][place] += _measure(entry, measure)
    (line,) = found.lines
    assert {m: list(v) for m, v in line.values.items()} == expected
    now = totals(scope, start, end).now
    assert now == {measure: measured(inside, measure) for measure in MEASURES}


Q = dt.timedelta(minutes=15)


@pytest.mark.parametrize("group", list(Group))
@pytest.mark.parametrize(("scope", "seen"), SCOPES)
@whatever
@given(history=histories())
def test_groups_equal_the_ledger(db, valkey, scope, seen, group, history):
    entries = [entry for entry in tell(valkey, history) if seen(entry)]
    start, end = NOON - Q, NOON + dt.timedelta(days=45)
    expected = Counter(told_apart(entry)[group] for entry in entries)
    expected.pop("", None)
    ranked = top(scope, start, end, group, by="requests", measures=("cost_nanousd",))
    assert {found.name: found.now["requests"] for found in ranked} == expected
    lines = series(scope, start, end, Step.DAY, ZoneInfo("Asia/Kolkata"), group_by=group).lines
    assert {line.name: sum(line.values["requests"]) for line in lines} == expected


@whatever
@given(history=histories())
def test_what_verifies_the_ledger_finds_all_of_it(db, valkey, history):
    tell(valkey, history)
    assert verify(valkey).differences == ()


@whatever
@given(history=histories())
def test_percentiles_are_off_by_no_more_than_they_say(db, valkey, history):
    entries = tell(valkey, history)
    times = sorted(e.total_ms for e in entries if e.status != ExchangeStatus.ABANDONED)
    start, end = NOON - Q, NOON + dt.timedelta(days=45)
    found = percentiles(everything(), start, end, Latency.TOTAL, percents=(50, 95, 100))
    assert found.counts == (len(times),)
    exact = [times[-(-len(times) * p // 100) - 1] if times else None for p in (50, 95, 100)]
    told = [found.values[p][0] for p in (50, 95, 100)]
    assert told == [t if t is None else pytest.approx(t, rel=ERROR_PERCENT / 100) for t in exact]


def test_an_error_type_is_counted_and_of_no_making_of_clients(db, valkey):
    opening, bad = an_opening(), a_closing(status="upstream_error", error_type="NO <b>\N{OX}")
    append_event(valkey, opening, bad)
    append_event(valkey, an_opening(), a_closing(error_type="overloaded_error"))
    append_event(valkey, an_opening(), a_closing(error_type="overloaded_error"))
    ledger.drain()
    found = errors_by_type(everything(), NOON - Q, NOON + Q)
    assert found == (("overloaded_error", 2), ("other", 1))


def test_the_period_before_is_told_beside(db, valkey):
    append_event(valkey, an_opening(), a_closing(), charged_at_ms=NOON_MS)
    day = dt.timedelta(days=1)
    for _twice in range(2):
        append_event(valkey, an_opening(), a_closing(), charged_at_ms=NOON_MS - 86_400_000)
    ledger.drain()
    found = totals(everything(), NOON - day / 2, NOON + day / 2)
    assert (found.now["requests"], found.before["requests"]) == (1, 2)
    (ranked,) = top(everything(), NOON - day / 2, NOON + day / 2, Group.KEY)
    assert (ranked.now["requests"], ranked.before["requests"]) == (1, 2)


def test_groups_beyond_the_largest_are_one_line(db, valkey):
    for key in range(1, 12):
        for _ in range(key):
            append_event(valkey, an_opening(apikey_id=key), a_closing())
    ledger.drain()
    utc = ZoneInfo("UTC")
    lines = series(everything(), NOON - Q, NOON + Q, Step.DAY, utc, group_by=Group.KEY).lines
    assert [(line.name, line.other) for line in lines][-2:] == [("4", False), ("other", True)]
    assert sum(lines[-1].values["requests"]) == 1 + 2 + 3


@pytest.mark.parametrize("group", [Group.KEY, Group.TEAM, Group.MODEL])
@pytest.mark.parametrize("scope", [of_keys([2]), of_keys([]), of_teams([8]), of_teams([])], ids=str)
def test_nobody_sees_what_is_not_theirs_by_any_filter(db, valkey, scope, group):
    append_event(valkey, an_opening(apikey_id=1, team_id=7), a_closing())
    ledger.drain()
    for filters in ({}, {Group.KEY: "1"}, {Group.TEAM: "7"}, {Group.MODEL: "claude-haiku-4-5"}):
        assert totals(scope, NOON - Q, NOON + Q, filters=filters).now["requests"] == 0
        assert top(scope, NOON - Q, NOON + Q, group, filters=filters) == ()


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda: totals(everything(), NOON, NOON), id="an empty span"),
        pytest.param(lambda: totals(everything(), NOON.replace(tzinfo=None), NOON), id="no zone"),
        pytest.param(
            lambda: totals(everything(), NOON - dt.timedelta(days=2_000), NOON), id="too long"
        ),
        pytest.param(
            lambda: totals(everything(), NOON - Q, NOON, filters={Group.KEY: "1 OR 1=1"}),
            id="a key that is no number",
        ),
        pytest.param(
            lambda: top(everything(), NOON - Q, NOON, Group.MODEL, by="1; DROP TABLE"),
            id="no measure",
        ),
        pytest.param(
            lambda: top(everything(), NOON - Q, NOON, Group.MODEL, filters={Group.CLIENT: "curl"}),
            id="two facets of everything",
        ),
        pytest.param(
            lambda: series(everything(), NOON - 400 * 24 * 4 * Q, NOON, Step.HOUR, ZoneInfo("UTC")),
            id="too many steps",
        ),
    ],
)
def test_what_cannot_be_answered_says_so(db, ask):
    with pytest.raises(Unanswerable):
        ask()
