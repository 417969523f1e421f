"""The drain against a brute-force model of it, over random histories, batches and replays."""

from collections import Counter
from dataclasses import dataclass

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ledger_events import NOON_MS, a_closing, an_opening, append_event
from usage import ledger
from usage.core.event import CacheOutcome, ExchangeStatus
from usage.core.tokens import TokenUsage
from usage.models import AMOUNTS, HourlyRollup, LedgerEntry

HOUR_MS = 3_600_000
ERRORS = (ExchangeStatus.UPSTREAM_ERROR, ExchangeStatus.GATEWAY_ERROR)


@dataclass(frozen=True)
class Told:
    """One event, in the few words that the model needs."""

    exchange: int
    key: int
    team: int | None
    status: ExchangeStatus
    hour: int
    answered: str
    tokens: int
    cache: CacheOutcome

    @property
    def abandoned(self):
        return self.status is ExchangeStatus.ABANDONED

    def append_to(self, valkey):
        opening = an_opening(
            exchange_id=f"{self.exchange:032x}",
            apikey_id=self.key,
            team_id=self.team,
            model_requested="asked",
        )
        closing = a_closing(
            status=self.status,
            model_answered=self.answered,
            usage=TokenUsage(*range(self.tokens, self.tokens + 6)),
            charged_tokens=self.tokens,
            cost_nanousd=self.tokens * 1_000,
            cache=self.cache,
            saved_tokens=self.tokens * 9,
            saved_nanousd=self.tokens * 9_000,
        )
        append_event(valkey, opening, closing, charged_at_ms=NOON_MS + self.hour * HOUR_MS)


tellings = st.builds(
    Told,
    exchange=st.integers(1, 6),
    key=st.integers(1, 2),
    team=st.sampled_from([None, 7]),
    status=st.sampled_from(ExchangeStatus),
    hour=st.integers(0, 2),
    answered=st.sampled_from(["", "opus"]),
    tokens=st.integers(0, 1_000),
    cache=st.sampled_from(CacheOutcome),
)
# What may happen next: an event, a drain, or a drain that forgot how far it had come.
steps = st.lists(st.one_of(tellings, st.sampled_from(["drain", "replay"])), max_size=25)


def expected_ledger(told):
    """A settlement beats an abandonment; otherwise whoever came first stays."""
    ledger = {}
    for event in told:
        stored = ledger.get(event.exchange)
        if stored is None or (stored.abandoned and not event.abandoned):
            ledger[event.exchange] = event
    return ledger


def expected_rollup(rows):
    sums = {}
    for row in rows:
        group = (row.hour, row.key, row.team, row.answered or "asked")
        sums.setdefault(group, Counter()).update(
            requests=1,
            errors=row.status in ERRORS,
            hung_up=row.status is ExchangeStatus.HUNG_UP,
            abandoned=row.abandoned,
            input_tokens=row.tokens,
            output_tokens=row.tokens + 1,
            cache_creation_input_tokens=row.tokens + 2,
            cache_creation_1h_input_tokens=row.tokens + 3,
            cache_read_input_tokens=row.tokens + 4,
            web_search_requests=row.tokens + 5,
            charged_tokens=row.tokens,
            cost_nanousd=row.tokens * 1_000,
            cache_hits=row.cache is CacheOutcome.HIT,
            cache_misses=row.cache is CacheOutcome.MISS,
            saved_tokens=row.tokens * 9,
            saved_nanousd=row.tokens * 9_000,
        )
    return sums


def stored_rollup():
    names = ("requests", "errors", "hung_up", "abandoned", "cache_hits", "cache_misses", *AMOUNTS)
    sums = {
        (row.hour.hour - 12, row.apikey_id, row.team_id, row.model): Counter(
            {name: getattr(row, name) for name in names}
        )
        for row in HourlyRollup.objects.all()
    }
    return {group: counts for group, counts in sums.items() if any(counts.values())}


def start_afresh(valkey):
    valkey.flushdb()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE usage_ledgerentry, usage_hourlyrollup, usage_deadletter")


@pytest.fixture
def batches(settings):
    settings.EVENTS_KEEP_S = 60
    return settings


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=steps, batch=st.integers(1, 5), tail=st.integers(1, 3))
def test_ledger_and_roll_up_equal_the_model(db, valkey, batches, steps, batch, tail):
    start_afresh(valkey)
    batches.DRAIN_BATCH = batch
    for step in steps:
        match step:
            case "drain":
                ledger.drain()
            case "replay":
                valkey.delete("{s00}:drained")
                ledger.drain()
            case event:
                event.append_to(valkey)
    for _ in range(tail):
        ledger.drain()
    expected = expected_ledger([step for step in steps if isinstance(step, Told)])
    stored = {row.exchange_id.int: row for row in LedgerEntry.objects.all()}
    assert {key: (row.status, row.charged_tokens) for key, row in stored.items()} == {
        key: (event.status, event.tokens) for key, event in expected.items()
    }
    assert stored_rollup() == expected_rollup(expected.values())
