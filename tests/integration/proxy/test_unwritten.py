"""Settlements that Valkey loses before the ledger has them, on a real Valkey and a real ledger."""

import asyncio
import threading
import uuid

import pytest
from redis.asyncio import Redis

from keys.core.limits import Concurrency, Limit, Unit, Wanted
from keys.limiter import Limiter, LimiterUnavailable, Settlement
from proxy.cold_start import LedgerHistory
from proxy.database import Database
from proxy.unwritten import LedgerRows, Unwritten
from tests.ledger_events import a_closing, an_opening, append_event
from tests.policies import a_policy
from tests.waiting import wait_until
from usage import ledger
from usage.core.event import ExchangeStatus, encode_closing, encode_opening
from usage.models import LedgerEntry

pytestmark = pytest.mark.django_db(transaction=True)

WANTED = Wanted(100, 100, 0, 0, 40, 0)
TOKENS = Limit("k12.0", Unit.TOKENS, 3_600, 10_000)
RPM = Limit("k12.0", Unit.REQUESTS, 60, 100)
POLICY = a_policy(apikey_id=12, limits=(TOKENS, RPM), concurrencies=(Concurrency("k12.0", None),))


class Gateway:
    """What settles and remembers, and what its windows say."""

    def __init__(self, runner, client, database):
        self.run = runner.run
        history = LedgerHistory(database)
        self.limiter = Limiter(
            client, history, abandonment=history.abandonment, lease_ttl_ms=60_000
        )
        self.unwritten = Unwritten(self.limiter, LedgerRows(database))

    def settle(self, now_ms):
        """Admit, settle and remember an exchange of 120 tokens; return its id."""
        opening = an_opening(admitted_at_ms=now_ms)
        encoded = encode_opening(opening)
        closing = encode_closing(a_closing(charged_tokens=120))
        settlement = Settlement(0, opening.exchange_id, "k12.0", encoded, 120, 0, closing)
        self.run(self.limiter.admit(POLICY, opening.exchange_id, WANTED, encoded))
        event_id = self.run(self.limiter.settle(settlement, again=False))
        self.unwritten.remember(settlement, event_id)
        return uuid.UUID(opening.exchange_id)

    def look(self):
        self.run(self.unwritten.look(older_than_s=0))

    def used(self):
        """What the windows of tokens and of requests hold."""
        return [reading.used for reading in self.run(self.limiter.peek(POLICY)).readings]


@pytest.fixture
def gateway(valkey, valkey_url):
    database = Database()
    with asyncio.Runner() as runner:
        client = Redis.from_url(valkey_url)
        gateway = Gateway(runner, client, database)
        yield gateway
        runner.run(gateway.limiter.close())
        runner.run(client.aclose())
    database.close()


@pytest.fixture
def now_ms(valkey):
    seconds, microseconds = valkey.time()
    return seconds * 1000 + microseconds // 1000


def test_what_waits_for_the_drain_is_kept(gateway, now_ms):
    gateway.settle(now_ms)
    gateway.look()
    assert len(gateway.unwritten) == 1


def test_what_was_drained_is_forgotten(gateway, now_ms):
    gateway.settle(now_ms)
    ledger.drain()
    gateway.look()
    assert len(gateway.unwritten) == 0


def test_what_was_drained_and_trimmed_is_forgotten(gateway, now_ms, valkey):
    gateway.settle(now_ms)
    ledger.drain()
    valkey.xtrim("{s00}:events", maxlen=0, approximate=False)
    gateway.look()
    assert len(gateway.unwritten) == 0
    assert not valkey.xlen("{s00}:events")


def test_what_was_flushed_is_settled_again_and_written_once(gateway, now_ms, valkey):
    exchange_id = gateway.settle(now_ms)
    valkey.flushdb()
    gateway.look()
    ledger.drain()
    gateway.look()
    assert LedgerEntry.objects.get().pk == exchange_id
    assert len(gateway.unwritten) == 0


def test_windows_count_again_what_was_flushed(gateway, now_ms, valkey):
    gateway.settle(now_ms)
    valkey.flushdb()
    assert gateway.used() == [0, 0]
    gateway.look()
    assert gateway.used() == [120, 1]


def test_windows_do_not_count_twice_what_was_written_before_the_flush(gateway, now_ms, valkey):
    gateway.settle(now_ms)
    ledger.drain()
    valkey.flushdb()
    gateway.look()
    assert gateway.used() == [120, 1]


def test_an_abandonment_in_the_ledger_does_not_stand_for_its_settlement(gateway, now_ms, valkey):
    exchange_id = gateway.settle(now_ms)
    abandoned_and_flushed(valkey, exchange_id, now_ms)
    gateway.look()
    ledger.drain()
    assert LedgerEntry.objects.get().status == ExchangeStatus.COMPLETED


def abandoned_and_flushed(valkey, exchange_id, now_ms):
    """Let the ledger have the exchange as abandoned, at 40 tokens, and Valkey nothing."""
    valkey.flushdb()
    opening = an_opening(exchange_id=exchange_id.hex, admitted_at_ms=now_ms)
    closing = a_closing(status=ExchangeStatus.ABANDONED, charged_tokens=40)
    append_event(valkey, opening, closing, charged_at_ms=now_ms)
    ledger.drain()
    valkey.flushdb()


def test_windows_take_back_an_abandonment_that_valkey_forgot(gateway, now_ms, valkey):
    exchange_id = gateway.settle(now_ms)
    abandoned_and_flushed(valkey, exchange_id, now_ms)
    assert gateway.used() == [40, 1]
    gateway.look()
    assert gateway.used() == [120, 1]


def test_the_lease_of_an_abandoned_exchange_is_not_taken_again(gateway, now_ms, valkey):
    exchange_id = gateway.settle(now_ms)
    abandoned_and_flushed(valkey, exchange_id, now_ms)
    gateway.run(gateway.limiter.restore(POLICY, exchange_id.hex, WANTED, b"{}"))
    assert not valkey.exists("{s00}:leases")


def test_while_the_ledger_cannot_be_read_what_is_gone_is_kept(gateway, now_ms, valkey):
    async def away(shard, exchange_ids):
        raise LimiterUnavailable("the ledger cannot be read")

    gateway.unwritten = Unwritten(gateway.limiter, away)
    gateway.settle(now_ms)
    valkey.flushdb()
    with pytest.raises(LimiterUnavailable):
        gateway.look()
    assert len(gateway.unwritten) == 1


class FlushedUnderTheDrain:
    """Valkey as a drain sees it: emptied in the moment after the drain has read from it."""

    def __init__(self, valkey, then):
        self._valkey, self._then = valkey, then

    def __getattr__(self, name):
        return getattr(self._valkey, name)

    def xrange(self, *arguments, **options):
        entries = self._valkey.xrange(*arguments, **options)
        self._valkey.flushdb()
        self._then()
        return entries


def test_what_a_drain_had_read_before_the_flush_is_waited_for(gateway, now_ms, valkey):
    gateway.settle(now_ms)
    looking = threading.Thread(target=gateway.look)

    def look_meanwhile():
        looking.start()
        looking.join(0.5)
        assert looking.is_alive()

    ledger.drain(FlushedUnderTheDrain(valkey, look_meanwhile))
    looking.join(5)
    wait_until(lambda: len(gateway.unwritten) == 0)
    assert LedgerEntry.objects.count() == 1
    assert not valkey.xlen("{s00}:events")


def test_a_window_is_loaded_with_what_a_drain_had_read_before_the_flush(gateway, now_ms, valkey):
    gateway.settle(now_ms)
    found = []
    loading = threading.Thread(target=lambda: found.extend(gateway.used()))

    def load_meanwhile():
        loading.start()
        loading.join(0.5)
        assert loading.is_alive()

    ledger.drain(FlushedUnderTheDrain(valkey, load_meanwhile))
    loading.join(5)
    assert found == [120, 1]
