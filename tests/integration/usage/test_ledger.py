import datetime as dt
import logging
import threading
import uuid

import pytest
from django.db import connection
from redis import ConnectionError, Redis

from tests.ledger_events import (
    NOON_MS,
    a_closing,
    an_opening,
    append_event,
    append_fields,
    old_event,
)
from usage import ledger
from usage.core.event import (
    Attempt,
    CacheOutcome,
    ExchangeStatus,
    encode_closing,
    encode_opening,
)
from usage.core.tokens import TokenUsage
from usage.models import DeadLetter, HourlyRollup, LedgerEntry
from usage.statements import COMPARE

HOUR_MS = 3_600_000
ABANDONED = a_closing(
    status=ExchangeStatus.ABANDONED,
    usage=TokenUsage(input_tokens=40),
    charged_tokens=40,
    cost_nanousd=40_000,
    estimated=True,
)

# As that release's drain names the columns, a few of them enough to be taken.
INSERT_OF_THE_RELEASE_BEFORE = """
INSERT INTO usage_ledgerentry (
    exchange_id, apikey_id, admitted_at, settled_at, status, http_status, streamed, estimated,
    error_type, model_requested, model_answered, upstream, upstream_request_id, client_address,
    client_agent, session_id, agent_id, parent_agent_id, inference_geo, input_tokens,
    output_tokens, cache_creation_input_tokens, cache_creation_1h_input_tokens,
    cache_read_input_tokens, web_search_requests, charged_tokens, cost_nanousd,
    input_tokens_estimate, cost_nanousd_estimate, total_ms
) VALUES (%s, 12, now(), now(), 'completed', 200, true, false,
    '', '', '', '', '', '', '', '', '', '', '', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
"""


def totals():
    """The whole roll-up, by hour and model."""
    return [
        (row.hour.hour, row.model, row.requests, row.abandoned, row.charged_tokens)
        for row in HourlyRollup.objects.order_by("hour", "model")
        if row.requests
    ]


def differences():
    with connection.cursor() as cursor:
        cursor.execute(COMPARE)
        return cursor.fetchall()


def forget_position(valkey, shard=0):
    """As if the drain had been killed between its commit and its note of how far it came."""
    valkey.delete(f"{{s{shard:02d}}}:drained")


@pytest.fixture
def errors(caplog):
    caplog.set_level(logging.ERROR, logger="usage.ledger")
    return caplog


def test_a_settlement_becomes_a_row(db, valkey):
    opening = an_opening(apikey_id=12, team_id=3, session_id="s-1", admitted_at_ms=NOON_MS)
    usage = TokenUsage(1, 2, 3, 4, 5, 6, "us")
    closing = a_closing(usage=usage, charged_tokens=7, cost_nanousd=8, first_byte_ms=None)
    append_event(valkey, opening, closing, charged_at_ms=NOON_MS + 1_234)
    assert ledger.drain() == 1
    row = LedgerEntry.objects.get()
    assert row.exchange_id.hex == opening.exchange_id
    assert (row.apikey_id, row.team_id, row.session_id) == (12, 3, "s-1")
    assert row.admitted_at == dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.UTC)
    assert row.settled_at - row.admitted_at == dt.timedelta(milliseconds=1_234)
    assert (row.input_tokens, row.output_tokens, row.cache_creation_input_tokens) == (1, 2, 3)
    assert (row.cache_creation_1h_input_tokens, row.cache_read_input_tokens) == (4, 5)
    assert (row.web_search_requests, row.inference_geo) == (6, "us")
    assert (row.charged_tokens, row.cost_nanousd, row.first_byte_ms) == (7, 8, None)


A_HIT = {
    "cache": CacheOutcome.HIT,
    "cache_source": "req_filler",
    "usage": TokenUsage(),
    "charged_tokens": 12,
    "cost_nanousd": 20_000,
    "saved_tokens": 108,
    "saved_nanousd": 180_000,
    "upstream": "",
    "attempts": (),
}


def test_a_hit_is_a_row_that_says_what_filled_the_cache_and_what_was_saved(db, valkey):
    append_event(valkey, an_opening(), a_closing(**A_HIT))
    ledger.drain()
    row = LedgerEntry.objects.get()
    assert (row.cache, row.cache_source) == ("hit", "req_filler")
    assert (row.charged_tokens, row.saved_tokens) == (12, 108)
    assert (row.cost_nanousd, row.saved_nanousd) == (20_000, 180_000)
    assert (row.input_tokens, row.output_tokens, row.upstream, row.attempts) == (0, 0, "", [])


def test_hits_misses_and_savings_are_rolled_up(db, valkey):
    append_event(valkey, an_opening(), a_closing(**A_HIT))
    append_event(valkey, an_opening(), a_closing(**A_HIT))
    append_event(valkey, an_opening(), a_closing(cache=CacheOutcome.MISS))
    append_event(valkey, an_opening(), a_closing(cache=CacheOutcome.BYPASS))
    ledger.drain()
    row = HourlyRollup.objects.get()
    assert (row.requests, row.cache_hits, row.cache_misses) == (4, 2, 1)
    assert (row.charged_tokens, row.saved_tokens, row.saved_nanousd) == (264, 216, 360_000)


def test_every_attempt_is_kept_with_the_row(db, valkey):
    tried = (Attempt("first", "529", 12), Attempt("second", "answered", 340))
    append_event(valkey, an_opening(), a_closing(attempts=tried))
    ledger.drain()
    assert LedgerEntry.objects.get().attempts == [
        {"account": "first", "outcome": "529", "milliseconds": 12},
        {"account": "second", "outcome": "answered", "milliseconds": 340},
    ]


def test_an_event_of_the_release_before_the_cache_becomes_a_row(db, valkey):
    append_fields(valkey, old_event("settled"))
    append_fields(valkey, old_event("never_reported"))
    ledger.drain()
    rows = LedgerEntry.objects.order_by("status")
    assert [(row.status, row.upstream, row.cache, row.attempts) for row in rows] == [
        ("abandoned", "default", "bypass", None),
        ("completed", "default", "bypass", None),
    ]
    assert DeadLetter.objects.count() == 0


def test_what_the_release_before_writes_into_the_new_table_is_an_entry(db):
    with connection.cursor() as cursor:
        cursor.execute(INSERT_OF_THE_RELEASE_BEFORE, [uuid.uuid4()])
    row = LedgerEntry.objects.get()
    assert (row.cache, row.cache_source, row.saved_tokens, row.attempts) == ("bypass", "", 0, None)


def test_a_row_is_rolled_up_under_its_hour_key_team_and_model(db, valkey):
    opening = an_opening(apikey_id=12, team_id=3)
    append_event(valkey, opening, a_closing(model_answered="claude-haiku-4-5-20251001"))
    ledger.drain()
    row = HourlyRollup.objects.get()
    assert row.hour == dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    assert (row.apikey_id, row.team_id, row.model) == (12, 3, "claude-haiku-4-5-20251001")
    assert (row.requests, row.input_tokens, row.output_tokens) == (1, 100, 20)
    assert (row.charged_tokens, row.cost_nanousd) == (120, 200_000)


def test_an_exchange_without_an_answer_is_rolled_up_under_the_model_asked_for(db, valkey):
    closing = a_closing(status=ExchangeStatus.UPSTREAM_ERROR, model_answered="")
    append_event(valkey, an_opening(model_requested="claude-opus-4-6"), closing)
    ledger.drain()
    row = HourlyRollup.objects.get()
    assert (row.model, row.requests, row.errors) == ("claude-opus-4-6", 1, 1)


def test_keys_without_a_team_share_the_roll_up_row_of_no_team(db, valkey):
    append_event(valkey, an_opening(team_id=None), a_closing())
    ledger.drain()
    append_event(valkey, an_opening(team_id=None), a_closing())
    ledger.drain()
    assert HourlyRollup.objects.get().requests == 2


@pytest.mark.parametrize(
    ("status", "counted"),
    [
        pytest.param(ExchangeStatus.COMPLETED, (0, 0, 0), id="completed"),
        pytest.param(ExchangeStatus.HUNG_UP, (0, 1, 0), id="hung up"),
        pytest.param(ExchangeStatus.UPSTREAM_ERROR, (1, 0, 0), id="upstream error"),
        pytest.param(ExchangeStatus.GATEWAY_ERROR, (1, 0, 0), id="gateway error"),
        pytest.param(ExchangeStatus.ABANDONED, (0, 0, 1), id="abandoned"),
    ],
)
def test_the_roll_up_counts_how_exchanges_ended(db, valkey, status, counted):
    append_event(valkey, an_opening(), a_closing(status=status))
    ledger.drain()
    row = HourlyRollup.objects.get()
    assert (row.errors, row.hung_up, row.abandoned) == counted


def test_an_abandonment_without_progress_is_charged_its_estimate(db, valkey):
    append_event(valkey, an_opening(input_tokens_estimate=40, cost_nanousd_estimate=40_000))
    ledger.drain()
    row = LedgerEntry.objects.get()
    assert (row.status, row.charged_tokens, row.cost_nanousd) == ("abandoned", 40, 40_000)


def test_every_shard_is_drained(db, valkey, settings):
    for shard in range(settings.SHARDS):
        append_event(valkey, an_opening(), a_closing(), shard=shard)
    assert ledger.drain() == settings.SHARDS
    assert LedgerEntry.objects.count() == settings.SHARDS


def test_a_backlog_is_drained_batch_by_batch(db, valkey, settings):
    settings.DRAIN_BATCH = 2
    for _ in range(7):
        append_event(valkey, an_opening(), a_closing())
    assert ledger.drain() == 7
    assert LedgerEntry.objects.count() == 7


def test_a_second_drain_finds_nothing(db, valkey):
    append_event(valkey, an_opening(), a_closing())
    ledger.drain()
    assert ledger.drain() == 0


def test_a_batch_read_again_changes_nothing(db, valkey):
    append_event(valkey, an_opening(), a_closing())
    append_event(valkey, an_opening())
    ledger.drain()
    before = totals()
    forget_position(valkey)
    assert ledger.drain() == 2
    assert LedgerEntry.objects.count() == 2
    assert totals() == before


def test_a_drain_that_cannot_note_its_position_is_made_good_by_the_next(db, valkey):
    class Deaf(Redis):
        def eval(self, *args, **kwargs):
            raise ConnectionError

    append_event(valkey, an_opening(), a_closing())
    deaf = Deaf(connection_pool=valkey.connection_pool)
    with pytest.raises(ConnectionError):
        ledger.drain(deaf)
    assert ledger.drain() == 1
    assert totals() == [(12, "claude-haiku-4-5", 1, 0, 120)]


def test_an_event_is_drained_though_its_clock_is_behind_what_was_drained_before_a_failover(
    db, valkey
):
    append_event(valkey, an_opening(), a_closing())
    ledger.drain()
    ahead = f"{valkey.time()[0] * 1000 + HOUR_MS}-7"
    valkey.eval(ledger.SET_DRAINED, 2, "{s00}:drained", "{s00}:events", ahead)
    append_event(valkey, an_opening(), a_closing())
    ledger.drain()
    assert LedgerEntry.objects.count() == 2


def test_the_same_settlement_twice_in_one_batch_counts_once(db, valkey):
    opening = an_opening()
    append_event(valkey, opening, a_closing(), charged_at_ms=NOON_MS)
    append_event(valkey, opening, a_closing(), charged_at_ms=NOON_MS + HOUR_MS)
    ledger.drain()
    assert totals() == [(12, "claude-haiku-4-5", 1, 0, 120)]


def test_of_two_settlements_the_first_stays(db, valkey):
    opening = an_opening()
    append_event(valkey, opening, a_closing(), charged_at_ms=NOON_MS)
    ledger.drain()
    append_event(valkey, opening, a_closing(charged_tokens=1), charged_at_ms=NOON_MS + HOUR_MS)
    ledger.drain()
    assert totals() == [(12, "claude-haiku-4-5", 1, 0, 120)]


def test_a_late_settlement_replaces_the_abandonment_and_moves_the_roll_up(db, valkey):
    opening = an_opening()
    append_event(valkey, opening, ABANDONED)
    ledger.drain()
    assert totals() == [(12, "claude-haiku-4-5", 1, 1, 40)]
    late = a_closing(model_answered="claude-opus-4-6")
    append_event(valkey, opening, late, charged_at_ms=NOON_MS + HOUR_MS)
    ledger.drain()
    assert LedgerEntry.objects.get().status == "completed"
    assert totals() == [(13, "claude-opus-4-6", 1, 0, 120)]
    assert differences() == []


def test_an_abandonment_and_its_settlement_in_one_batch_are_one_row(db, valkey):
    opening = an_opening()
    append_event(valkey, opening, ABANDONED)
    append_event(valkey, opening, a_closing())
    ledger.drain()
    assert totals() == [(12, "claude-haiku-4-5", 1, 0, 120)]


@pytest.mark.parametrize("batch", [1, 2], ids=["apart", "in one batch"])
def test_an_abandonment_never_replaces_a_settlement(db, valkey, settings, batch):
    settings.DRAIN_BATCH = batch
    opening = an_opening()
    append_event(valkey, opening, a_closing())
    append_event(valkey, opening, ABANDONED)
    ledger.drain()
    assert totals() == [(12, "claude-haiku-4-5", 1, 0, 120)]


def test_anchors_are_kept_with_the_row(db, valkey):
    append_event(valkey, an_opening(), a_closing(), anchors="k12.0:tok:18000:a=1711234567000")
    ledger.drain()
    assert LedgerEntry.objects.get().anchors == {"k12.0:tok:18000:a": 1_711_234_567_000}


def test_long_and_odd_text_is_cut_and_cleaned_rather_than_refused(db, valkey):
    closing = a_closing(model_answered="\N{OX}" * 5_000, error_type="a\0b")
    append_event(valkey, an_opening(client_agent="x" * 70_000), closing)
    ledger.drain()
    row = LedgerEntry.objects.get()
    assert (row.client_agent, row.model_answered) == ("x" * 200, "\N{OX}" * 200)
    assert row.error_type == "a\ufffdb"


GOOD = {
    "x": "-",
    "t": NOON_MS,
    "o": encode_opening(an_opening()),
    "c": encode_closing(a_closing()),
    "k": "k12.0",
    "w": "",
}


def a_bad_opening(**fields):
    return {"o": encode_opening(an_opening(**fields))}


def a_bad_closing(**fields):
    return {"c": encode_closing(a_closing(**fields))}


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"o": b"{"}, id="half an opening"),
        pytest.param({"o": b"\xff\x00\xfe"}, id="not text"),
        pytest.param({"c": b"[]"}, id="a closing that is a list"),
        pytest.param({"t": "noon"}, id="a time that is no number"),
        pytest.param({"t": "9" * 30}, id="a time beyond 64 bits"),
        pytest.param({"t": 0}, id="a time before ours"),
        pytest.param({"t": 10**17}, id="a time after ours"),
        pytest.param({"w": "k12.0"}, id="anchors that are none"),
        pytest.param({"w": "k12.0:tok:60:a=" + "9" * 30}, id="an anchor beyond 64 bits"),
        pytest.param(a_bad_opening(exchange_id="no uuid"), id="an id that is none"),
        pytest.param(a_bad_opening(apikey_id=None), id="no key"),
        pytest.param(a_bad_opening(apikey_id=2.5), id="half a key"),
        pytest.param(a_bad_opening(model_requested=None), id="no model"),
        pytest.param(a_bad_opening(streamed="perhaps"), id="neither true nor false"),
        pytest.param(a_bad_closing(status="vanished"), id="an unknown status"),
        pytest.param(a_bad_closing(charged_tokens=-1), id="a negative charge"),
        pytest.param(a_bad_closing(cost_nanousd=-1), id="a negative cost"),
        pytest.param(a_bad_closing(usage=TokenUsage(input_tokens=-1)), id="a negative count"),
        pytest.param(a_bad_closing(cost_nanousd=1e30), id="a cost beyond 64 bits"),
        pytest.param(a_bad_closing(usage=None), id="no usage"),
        pytest.param(a_bad_closing(cache="perhaps"), id="an unknown outcome of the cache"),
        pytest.param(a_bad_closing(saved_tokens=-1), id="a negative saving"),
    ],
)
def test_a_bad_event_becomes_a_dead_letter_and_holds_nobody_up(db, valkey, errors, bad):
    append_event(valkey, an_opening(), a_closing())
    stream_id = append_fields(valkey, GOOD | bad)
    append_event(valkey, an_opening(), a_closing())
    assert ledger.drain() == 3
    assert LedgerEntry.objects.count() == 2
    letter = DeadLetter.objects.get()
    assert (letter.shard, letter.stream_id) == (0, stream_id)
    assert letter.fields["k"] == "k12.0"
    assert letter.error
    assert stream_id in errors.text
    assert differences() == []


@pytest.mark.parametrize("missing", ["t", "o", "c", "w"])
def test_an_event_without_a_field_becomes_a_dead_letter(db, valkey, errors, missing):
    append_fields(valkey, {name: value for name, value in GOOD.items() if name != missing})
    ledger.drain()
    assert f"no field b'{missing}'" in DeadLetter.objects.get().error


def test_a_dead_letter_found_again_is_one_letter(db, valkey, errors):
    append_fields(valkey, GOOD | {"o": b"{"})
    append_fields(valkey, GOOD | a_bad_closing(charged_tokens=-1))
    ledger.drain()
    forget_position(valkey)
    ledger.drain()
    assert DeadLetter.objects.count() == 2


def test_a_roll_up_that_would_overflow_refuses_only_the_event_that_overflows_it(db, valkey, errors):
    append_event(valkey, an_opening(), a_closing(cost_nanousd=2**62))
    append_event(valkey, an_opening(), a_closing(cost_nanousd=2**62))
    append_event(valkey, an_opening(), a_closing())
    ledger.drain()
    assert (LedgerEntry.objects.count(), DeadLetter.objects.count()) == (2, 1)
    assert differences() == []


def test_written_events_stay_while_a_cold_start_may_read_them(db, valkey, settings):
    settings.EVENTS_KEEP_S = 60
    append_event(valkey, an_opening(), a_closing())
    ledger.drain()
    assert valkey.xlen("{s00}:events") == 1


def test_written_events_are_trimmed_in_the_end(db, valkey, settings):
    settings.EVENTS_KEEP_S = 0
    append_event(valkey, an_opening(), a_closing())
    append_event(valkey, an_opening(), a_closing())
    ledger.drain()
    # The last one drained may stay: MINID keeps the entry that it names.
    assert valkey.xlen("{s00}:events") <= 1


def test_what_was_settled_is_known_until_its_event_was_drained(db, valkey, settings):
    settings.EVENTS_KEEP_S = 0
    append_event(valkey, an_opening(), a_closing())
    [(stream_id, _fields)] = valkey.xrange("{s00}:events")
    drained_ms = int(stream_id.partition(b"-")[0])
    known = {"before": drained_ms - 1, "with it": drained_ms, "after": drained_ms + 1}
    valkey.zadd("{s00}:settled", known)
    ledger.drain()
    assert valkey.zrange("{s00}:settled", 0, -1) == [b"with it", b"after"]


def test_one_drain_is_bounded_and_leaves_the_rest_untrimmed_to_the_next(db, valkey, settings):
    settings.EVENTS_KEEP_S = 0
    settings.DRAIN_BATCH = 1
    for _ in range(ledger.ROUNDS_MAX + 5):
        append_event(valkey, an_opening(), a_closing())
    assert ledger.drain() == ledger.ROUNDS_MAX
    assert ledger.drain() == 5
    assert LedgerEntry.objects.count() == ledger.ROUNDS_MAX + 5


def test_nothing_waiting_is_no_lag(db, valkey):
    append_event(valkey, an_opening(), a_closing())
    ledger.drain()
    assert ledger.drain_lag() == 0


def test_the_lag_is_the_age_of_the_oldest_event_of_any_shard(valkey):
    seconds, _ = valkey.time()
    valkey.xadd("{s03}:events", {"x": "-"}, id=f"{(seconds - 90) * 1000}-0")
    valkey.xadd("{s05}:events", {"x": "-"}, id=f"{(seconds - 10) * 1000}-0")
    assert 90 <= ledger.drain_lag() < 100


def test_events_ahead_of_the_clock_are_no_negative_lag(valkey):
    seconds, _ = valkey.time()
    valkey.xadd("{s03}:events", {"x": "-"}, id=f"{(seconds + 90) * 1000}-0")
    assert ledger.drain_lag() == 0


def in_thread(function):
    """Run `function` in a thread with database connections of its own, and return the thread."""

    def run():
        try:
            function()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_shard_that_another_drain_holds_is_left_alone(transactional_db, valkey):
    append_event(valkey, an_opening(), a_closing(), shard=4)
    held, release = threading.Event(), threading.Event()

    def hold():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", [ledger.LOCK_CLASS, 4])
            held.set()
            release.wait()
            cursor.execute("SELECT pg_advisory_unlock_all()")

    holder = in_thread(hold)
    held.wait()
    try:
        assert ledger.drain() == 0
    finally:
        release.set()
        holder.join()
    assert ledger.drain() == 1


def test_drains_that_race_write_every_event_once(transactional_db, valkey, settings):
    settings.DRAIN_BATCH = 5
    for number in range(400):
        append_event(valkey, an_opening(apikey_id=number % 3), a_closing(), shard=number % 4)
    start = threading.Barrier(3)

    def race():
        start.wait()
        for _ in range(40):
            ledger.drain()

    racers = [in_thread(race) for _ in range(3)]
    for racer in racers:
        racer.join()
    assert LedgerEntry.objects.count() == 400
    assert sum(row.requests for row in HourlyRollup.objects.all()) == 400
    assert differences() == []
