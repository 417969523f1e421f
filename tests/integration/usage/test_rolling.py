"""The trigger of the ledger, what is added later, what is bounded, and sessions as trees."""

import datetime as dt
import threading
import uuid
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from tests.ledger_events import NOON_MS, a_closing, an_opening, append_event
from usage import catching_up, ledger
from usage.core.client import CLIENTS
from usage.core.event import ExchangeStatus
from usage.core.histogram import BOUNDS, ERROR_PERCENT, bucket_of, middle_ms
from usage.folding import fold
from usage.models import (
    Backfill,
    GroupRollup,
    KeyRollup,
    LatencyRollup,
    LedgerEntry,
    SessionRollup,
)
from usage.reading.forecast import forecast
from usage.reading.question import Step
from usage.reading.scope import everything, of_keys, of_teams
from usage.reading.series import series
from usage.reading.sessions import session_tree, sessions
from usage.reading.totals import totals
from usage.rolling import TABLES
from usage.verify import verify

DAY = dt.timedelta(days=1)
NOON = dt.datetime.fromtimestamp(NOON_MS / 1000, dt.UTC)
DAY_MS = 86_400_000


def spend(valkey, count=1, *, at_ms=NOON_MS, **fields):
    for _ in range(count):
        append_event(valkey, an_opening(**fields), a_closing(), charged_at_ms=at_ms)
    ledger.drain()


def requests_told():
    return totals(everything(), NOON - DAY, NOON + DAY).now["requests"]


def test_old_entries_are_added_batch_by_batch_beside_new_ones(db, valkey):
    spend(valkey, 5)
    catching_up.rebuild()
    assert requests_told() == 0
    assert catching_up.add_batch(2) == 2
    spend(valkey, 1, exchange_id="0" * 31 + "1")  # where the backfill has been
    spend(valkey, 1, exchange_id="f" * 32)  # where it has yet to come
    assert requests_told() == 3
    while catching_up.add_batch(2):
        assert verify(valkey).differences == ()
    assert requests_told() == 7
    assert not Backfill.objects.exists()
    assert verify(valkey).differences == ()


def test_tending_ends_when_all_is_added(db, valkey):
    spend(valkey, 3)
    catching_up.rebuild()
    catching_up.tend()
    assert (requests_told(), catching_up.reached()) == (3, None)


def test_drains_and_backfills_at_once_count_each_exchange_once(transactional_db, valkey):
    spend(valkey, 40)
    catching_up.rebuild()
    for number in range(120):
        append_event(valkey, an_opening(), a_closing(), shard=number % 3)

    def work():
        while catching_up.add_batch(3):
            ledger.drain()
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.drain()
    assert requests_told() == 160
    assert verify(valkey).differences == ()


def test_what_the_release_before_writes_is_rolled_up_too(db, valkey):
    spend(valkey)
    columns = ", ".join(
        field.column for field in LedgerEntry._meta.fields if field.column != "exchange_id"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO usage_ledgerentry (exchange_id, {columns})"
            f" SELECT %s, {columns} FROM usage_ledgerentry",
            [uuid.uuid4()],
        )
    ledger.drain()
    assert requests_told() == 2


def test_what_is_deleted_is_taken_off(db, valkey):
    spend(valkey, 2)
    LedgerEntry.objects.first().delete()
    # Noted, not added yet; the hourly roll-up is the drain's.
    assert not [d for d in verify(valkey).differences if d.where.startswith("usage_")]
    fold()
    assert requests_told() == 1


@pytest.mark.parametrize("model", [KeyRollup, GroupRollup, LatencyRollup, SessionRollup])
def test_a_roll_up_that_lacks_a_row_is_told(db, valkey, model):
    spend(valkey, at_ms=int(dt.datetime.now(dt.UTC).timestamp() * 1000))
    assert verify(valkey).differences == ()
    model.objects.first().delete()
    found = {difference.where.split()[0] for difference in verify(valkey).differences}
    assert found == {model._meta.db_table}


def test_clients_cannot_make_rows_without_end(db, valkey):
    for number in range(30):
        opening = an_opening(
            client_agent=f"made up {number}", model_requested=f"opus-202601{number:02d}"
        )
        bad = a_closing(status="upstream_error", model_answered="", error_type=f"No. {number}")
        append_event(valkey, opening, bad)
    ledger.drain()
    row = KeyRollup.objects.get(grain="q")
    assert (row.model, row.client, row.error_type, row.requests) == ("opus", "other", "other", 30)
    assert len(CLIENTS) < 15


@pytest.mark.parametrize("milliseconds", [0, 1, 2, 99, 100, 1_000, 59_999, BOUNDS[-1] - 1])
def test_a_bucket_is_off_by_no_more_than_said(milliseconds):
    middle = middle_ms(bucket_of(milliseconds))
    assert middle == pytest.approx(milliseconds, rel=ERROR_PERCENT / 100)


@pytest.mark.parametrize(
    ("zone", "utc"),
    [
        pytest.param("Asia/Kolkata", "18:30", id="India"),
        pytest.param("Asia/Kathmandu", "18:15", id="Nepal"),
        pytest.param("America/New_York", "05:00", id="New York"),
    ],
)
def test_a_day_begins_when_it_does_in_the_zone(db, valkey, zone, utc):
    midnight = dt.datetime.fromisoformat(f"2026-02-28T{utc}Z")
    for minutes in (-1, 0, 1):
        at = midnight + dt.timedelta(minutes=minutes)
        spend(valkey, at_ms=int(at.timestamp() * 1000))
    found = series(everything(), midnight - DAY, midnight + DAY, Step.DAY, ZoneInfo(zone))
    assert found.lines[0].values["requests"] == (1, 2)


def test_a_day_in_which_clocks_go_back_has_25_hours(db):
    zone = ZoneInfo("Europe/Berlin")
    start = dt.datetime(2026, 10, 25, tzinfo=zone)
    found = series(everything(), start, start + DAY, Step.HOUR, zone)
    assert len(found.starts) == 25


def agent(valkey, name, parent="", session="s", **fields):
    spend(valkey, agent_id=name, parent_agent_id=parent, session_id=session, **fields)


def names(trees):
    return [(tree.agent_id, names(tree.children)) for tree in trees]


def test_a_session_is_a_tree_of_agents_with_the_use_of_each(db, valkey):
    agent(valkey, "")
    agent(valkey, "explore", admitted_at_ms=NOON_MS + 1)
    agent(valkey, "deeper", "explore", admitted_at_ms=NOON_MS + 2)
    agent(valkey, "deeper", "explore", admitted_at_ms=NOON_MS + 3)
    trees = session_tree(everything(), "s")
    assert names(trees) == [("", [("explore", [("deeper", [])])])]
    deeper = trees[0].children[0].children[0].used
    assert (deeper.requests, deeper.input_tokens, deeper.cost_nanousd) == (2, 200, 400_000)
    (session,) = sessions(everything(), NOON - DAY, NOON + DAY)
    assert (session.session_id, session.agents, session.used.requests) == ("s", 3, 4)


def test_agents_in_a_circle_stand_at_the_top(db, valkey):
    agent(valkey, "a", "b")
    agent(valkey, "b", "a")
    agent(valkey, "lost", "nobody")
    assert sorted(names(session_tree(everything(), "s"))) == [("a", []), ("b", []), ("lost", [])]


def test_sessions_of_others_are_not_seen(db, valkey):
    agent(valkey, "", apikey_id=1, team_id=7)
    for scope in (of_keys([2]), of_teams([8]), of_keys([])):
        assert sessions(scope, NOON - DAY, NOON + DAY) == ()
        assert session_tree(scope, "s") == ()
    assert session_tree(of_keys([1]), "s")


def test_old_days_of_sessions_are_dropped(db, valkey):
    agent(valkey, "")
    assert catching_up.prune_sessions(NOON + 29 * DAY) == 0
    assert catching_up.prune_sessions(NOON + 31 * DAY) == 1
    assert verify(valkey).differences == ()


def test_a_late_settlement_moves_every_roll_up(db, valkey):
    opening = an_opening()
    gone = a_closing(status=ExchangeStatus.ABANDONED, charged_tokens=40)
    append_event(valkey, opening, gone, charged_at_ms=NOON_MS)
    ledger.drain()
    append_event(valkey, opening, a_closing(), charged_at_ms=NOON_MS + DAY_MS)
    ledger.drain()
    first = totals(everything(), NOON - DAY / 2, NOON + DAY / 4).now
    later = totals(everything(), NOON + DAY / 2, NOON + 2 * DAY).now
    assert (first["requests"], first["abandoned"], first["charged_tokens"]) == (0, 0, 0)
    assert (later["requests"], later["charged_tokens"]) == (1, 120)
    assert verify(valkey).differences == ()


def test_the_month_goes_on_as_days_of_the_week_did(db, valkey):
    # Since the 1st of March 2026, a Sunday: one exchange a day, three on Mondays.
    for day in range(14):
        spend(valkey, 3 if day % 7 == 1 else 1, at_ms=NOON_MS + day * DAY_MS)
    now = dt.datetime(2026, 3, 15, tzinfo=dt.UTC)
    found = forecast(everything(), ZoneInfo("UTC"), now=now)
    assert found.spent_nanousd == 18 * 200_000
    # Seventeen days to come, three of them Mondays (16, 23, 30).
    assert found.likely_nanousd == (18 + 14 + 3 * 3) * 200_000
    assert found.low_nanousd <= found.likely_nanousd <= found.high_nanousd
    assert found.days_known == 14


def test_without_a_past_a_forecast_is_what_was_spent(db, valkey):
    found = forecast(everything(), ZoneInfo("UTC"), now=NOON)
    assert (found.likely_nanousd, found.days_known) == (0, 0)


def test_every_roll_up_is_verified():
    kept = {model._meta.db_table for model in (KeyRollup, GroupRollup, LatencyRollup)}
    assert {table.name for table in TABLES} == kept | {SessionRollup._meta.db_table}
