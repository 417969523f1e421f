"""Windows that Valkey lost come back as they were, from a real ledger and a real event stream."""

import asyncio
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from keys.core.limits import Admitted, Concurrency, Limit, Unit, Wanted
from keys.limiter import EVENTS_PAGE, Limiter, LimiterUnavailable, Settlement, source
from proxy.cold_start import LedgerHistory
from proxy.database import Database, DatabaseUnavailable
from tests.ledger_events import NOON_MS, a_closing, an_opening, append_event, append_fields
from tests.policies import a_policy
from usage import ledger
from usage.core.event import encode_closing, encode_opening

pytestmark = pytest.mark.django_db(transaction=True)

TTL_MS = 60_000
WANTED = Wanted(100, 100, 1_000, 1_000, 40, 40_000)
KEY, TEAM = 12, 3
TOKENS = Limit("k12.0", Unit.TOKENS, 3_600, 10_000)
MONEY = Limit("k12.0", Unit.NANOUSD, 86_400, 10**12)
RPM = Limit("k12.0", Unit.REQUESTS, 60, 100)
ANCHORED = Limit("k12.0", Unit.TOKENS, 3_600, 10_000, anchored=True)
TEAMS = Limit("t3.0", Unit.TOKENS, 18_000, 10_000)
LIMITS = (RPM, TOKENS, MONEY, ANCHORED, TEAMS)


class Gateway:
    """A limiter on the ledger's history; its clock stands still until it is told."""

    def __init__(self, runner, valkey, client, history):
        self.run, self.valkey = runner.run, valkey
        self.now_ms = NOON_MS
        self.history, self.loads, self.meanwhile = history, 0, []
        self.limiter = Limiter(
            client, self._answer, lease_ttl_ms=TTL_MS, now_ms=lambda: self.now_ms
        )
        self.sweeping = valkey.register_script(source("sweep"))

    async def _answer(self, limit, backlog):
        """Answer as the ledger does, after whatever is to happen meanwhile."""
        self.loads += 1
        if self.meanwhile:
            await self.meanwhile.pop()()
        return await self.history(limit, backlog)

    def admit(self, *, apikey_id=KEY, limits=LIMITS):
        exchange = Exchange(self, apikey_id, a_policy_of(apikey_id, limits))
        verdict = self.run(exchange.admit())
        assert isinstance(verdict, Admitted)
        return exchange

    def abandon_all(self):
        self.now_ms += TTL_MS
        self.sweeping(keys=["{s00}:leases"], args=[self.now_ms, 1000])

    def wait(self, seconds):
        self.now_ms += seconds * 1000

    def windows(self, limits=LIMITS, apikey_id=KEY):
        """Return what each window has used and when its oldest use leaves."""
        verdict = self.run(self.limiter.peek(a_policy_of(apikey_id, limits)))
        return [(reading.used, reading.frees_at_ms) for reading in verdict.readings]

    def forget_windows(self):
        """Lose the windows and keep the stream."""
        gone = [*self.valkey.scan_iter("*:w:*"), *self.valkey.scan_iter("*:c:*")]
        self.valkey.delete(*gone, "{s00}:idle")

    def flush(self):
        """Lose everything."""
        self.valkey.flushdb()


class Exchange:
    """One exchange of a key of the team."""

    def __init__(self, gateway, apikey_id, policy):
        self._gateway, self._policy = gateway, policy
        self.opening = an_opening(apikey_id=apikey_id, team_id=TEAM, admitted_at_ms=gateway.now_ms)

    async def admit(self):
        opening = encode_opening(self.opening)
        exchange_id = self.opening.exchange_id
        return await self._gateway.limiter.admit(self._policy, exchange_id, WANTED, opening)

    def settle(self, tokens=70, *, again=False):
        self._gateway.run(self.settling(tokens, again=again))
        return self

    async def settling(self, tokens=70, *, again=False):
        nanousd = tokens * 1_000
        closing = a_closing(charged_tokens=tokens, cost_nanousd=nanousd)
        settlement = Settlement(
            shard=self._policy.shard,
            exchange_id=self.opening.exchange_id,
            scopes=self._policy.scopes,
            opening=encode_opening(self.opening),
            tokens=tokens,
            nanousd=nanousd,
            closing=encode_closing(closing),
        )
        await self._gateway.limiter.settle(settlement, again=again)


def a_policy_of(apikey_id, limits):
    concurrencies = (Concurrency(f"k{apikey_id}.0", None), Concurrency(f"t{TEAM}.0", None))
    return a_policy(apikey_id=apikey_id, limits=limits, concurrencies=concurrencies)


@pytest.fixture
def database():
    database = Database()
    yield database
    database.close()


@pytest.fixture
def gateway(valkey, valkey_url, database):
    with asyncio.Runner() as runner:
        client = Redis.from_url(valkey_url)
        gateway = Gateway(runner, valkey, client, LedgerHistory(database))
        yield gateway
        runner.run(gateway.limiter.close())
        runner.run(client.aclose())


def nothing():
    """Leave the events where they are."""


lost = pytest.mark.parametrize(
    ("drain", "lose"),
    [
        pytest.param(nothing, Gateway.forget_windows, id="nothing drained"),
        pytest.param(ledger.drain, Gateway.forget_windows, id="all drained, events kept"),
        pytest.param(ledger.drain, Gateway.flush, id="all drained, everything flushed"),
    ],
)
drained = pytest.mark.parametrize(
    "drain", [pytest.param(nothing, id="pending"), pytest.param(ledger.drain, id="drained")]
)


# --- What was used ------------------------------------------------------------------------------


@lost
def test_windows_come_back_as_they_were(gateway, drain, lose):
    gateway.admit().settle(70)
    gateway.wait(30)
    gateway.admit().settle(500)
    before = gateway.windows()
    drain()
    lose(gateway)
    assert gateway.windows() == before
    assert [used for used, _frees in before] == [2, 570, 570_000, 570, 570]


def test_events_drained_and_not_drained_count_once(gateway):
    gateway.admit().settle(70)
    ledger.drain()
    gateway.wait(30)
    gateway.admit().settle(500)
    before = gateway.windows()
    gateway.forget_windows()
    assert gateway.windows() == before


def test_a_drain_that_was_killed_before_it_noted_how_far_it_came_counts_once(gateway, valkey):
    gateway.admit().settle(70)
    before = gateway.windows()
    ledger.drain()
    valkey.delete("{s00}:drained")
    gateway.forget_windows()
    assert gateway.windows() == before


def test_what_has_left_the_window_does_not_come_back(gateway):
    gateway.admit().settle(70)
    gateway.wait(3_600 + 12)
    gateway.forget_windows()
    assert [used for used, _frees in gateway.windows()] == [0, 0, 70_000, 0, 70]


def test_a_team_counts_all_its_keys_and_a_key_its_own(gateway):
    gateway.admit().settle(70)
    gateway.admit(apikey_id=13, limits=(TEAMS,)).settle(500)
    ledger.drain()
    gateway.admit().settle(1)
    gateway.admit(apikey_id=13, limits=(TEAMS,)).settle(2)
    gateway.forget_windows()
    assert [used for used, _frees in gateway.windows((TOKENS, TEAMS))] == [71, 573]


def test_what_a_key_used_before_it_changed_teams_counts(gateway):
    gateway.admit().settle(70)
    moved = Limit("k12.1", Unit.TOKENS, 3_600, 10_000)
    assert gateway.windows((moved,)) == gateway.windows((TOKENS,))


def test_counts_of_tokens_leave_no_trace(gateway):
    counts = Limit("k12.0", Unit.COUNTS, 60, 5)
    policy = a_policy_of(KEY, ())
    gateway.run(gateway.limiter.tick(policy, counts))
    gateway.forget_windows()
    assert gateway.windows((counts,)) == [(0, None)]


def test_a_row_ahead_of_the_clock_counts_as_if_used_now(gateway):
    gateway.admit().settle(70)
    ledger.drain()
    gateway.flush()
    gateway.now_ms -= 5_000
    used = [used for used, _frees in gateway.windows()]
    assert used == [1, 70, 70_000, 70, 70]


def test_more_events_than_a_page_are_all_read(gateway, valkey):
    for _number in range(EVENTS_PAGE):
        append_event(valkey, an_opening(apikey_id=99), a_closing())
    gateway.admit().settle(70)
    gateway.forget_windows()
    assert gateway.windows((TOKENS,))[0][0] == 70


def test_a_dead_letter_to_be_counts_nothing_and_keeps_nobody_out(gateway, valkey):
    gateway.admit().settle(70)
    append_fields(valkey, {"x": "?", "t": 1, "o": b"{", "c": b"", "k": "k12.0", "w": ""})
    append_fields(valkey, {"x": "?"})
    gateway.forget_windows()
    assert gateway.windows((TOKENS,))[0][0] == 70


# --- Settled more than once ---------------------------------------------------------------------


@lost
def test_an_event_appended_once_more_counts_once_where_it_was(gateway, drain, lose):
    exchange = gateway.admit().settle(70)
    gateway.wait(30)
    exchange.settle(70, again=True)
    before = gateway.windows()
    drain()
    lose(gateway)
    assert gateway.windows() == before


def test_an_event_appended_once_more_after_the_drain_counts_once_where_it_was(gateway):
    exchange = gateway.admit().settle(70)
    ledger.drain()
    gateway.wait(30)
    exchange.settle(70, again=True)
    before = gateway.windows()
    gateway.forget_windows()
    assert gateway.windows() == before


@lost
def test_an_abandoned_exchange_counts_what_it_was_charged(gateway, drain, lose):
    gateway.admit()
    gateway.abandon_all()
    before = gateway.windows()
    drain()
    lose(gateway)
    assert gateway.windows() == before
    assert before[1][0] == 40


@lost
def test_a_late_settlement_counts_instead_of_the_abandonment(gateway, drain, lose):
    exchange = gateway.admit()
    gateway.abandon_all()
    drain()
    gateway.wait(30)
    exchange.settle(95)
    before = gateway.windows()
    drain()
    lose(gateway)
    assert gateway.windows() == before
    assert before[1][0] == 95


def test_a_late_settlement_counts_instead_of_an_abandonment_in_the_ledger(gateway):
    exchange = gateway.admit()
    gateway.abandon_all()
    ledger.drain()
    exchange.settle(95)
    gateway.forget_windows()
    assert gateway.windows((TOKENS,))[0][0] == 95


# --- Anchored windows ---------------------------------------------------------------------------


@lost
def test_an_anchored_window_ends_when_it_would_have(gateway, drain, lose):
    gateway.admit().settle(70)
    gateway.wait(1_800)
    gateway.admit().settle(5)
    drain()
    lose(gateway)
    assert gateway.windows((ANCHORED,)) == [(75, NOON_MS + 3_600_000)]


@lost
def test_an_anchored_window_that_is_over_is_empty(gateway, drain, lose):
    gateway.admit().settle(70)
    drain()
    lose(gateway)
    gateway.wait(3_600)
    assert gateway.windows((ANCHORED,)) == [(0, None)]


def test_an_anchored_window_begins_with_its_first_use_after_a_flush(gateway):
    gateway.flush()
    gateway.admit(limits=(ANCHORED,)).settle(70)
    assert gateway.windows((ANCHORED,)) == [(70, NOON_MS + 3_600_000)]


# --- Resets -------------------------------------------------------------------------------------


@drained
@pytest.mark.parametrize("anchored", [False, True])
def test_what_was_used_before_a_reset_does_not_come_back(gateway, drain, anchored):
    limit = Limit("k12.0", Unit.TOKENS, 3_600, 10_000, anchored=anchored)
    gateway.admit(limits=(limit,)).settle(70)
    gateway.wait(30)
    reset_at_ms = gateway.now_ms
    reset = gateway.valkey.register_script(source("reset"))
    reset(keys=["{s00}:leases"], args=[reset_at_ms, limit.window_name])
    gateway.wait(1)
    since = Limit("k12.0", Unit.TOKENS, 3_600, 10_000, anchored=anchored, reset_at_ms=reset_at_ms)
    gateway.admit(limits=(since,)).settle(5)
    before = gateway.windows((since,))
    drain()
    gateway.forget_windows()
    assert gateway.windows((since,)) == before
    assert before[0][0] == 5


# --- Races --------------------------------------------------------------------------------------


def test_a_settlement_while_the_ledger_is_read_makes_the_load_begin_again(gateway):
    exchange = gateway.admit(limits=(TOKENS,))
    gateway.valkey.delete("{s00}:w:k12.0:tok:3600")
    gateway.loads = 0
    gateway.meanwhile = [exchange.settling]
    assert gateway.windows((TOKENS,))[0][0] == 70
    assert gateway.loads == 2


def test_a_settlement_of_another_key_does_not(gateway):
    exchange = gateway.admit(apikey_id=13, limits=())
    gateway.meanwhile = [exchange.settling]
    assert gateway.windows((TOKENS,))[0][0] == 0
    assert gateway.loads == 1


def test_a_drain_while_the_ledger_is_read_makes_no_difference(gateway):
    gateway.admit().settle(70)
    before = gateway.windows()
    gateway.forget_windows()
    gateway.meanwhile = [lambda: asyncio.to_thread(drain_and_leave)]
    assert gateway.windows() == before


def drain_and_leave():
    from django.db import connections

    ledger.drain()
    connections.close_all()


def test_a_window_that_another_gateway_loaded_first_stays_as_it_is(gateway):
    exchange = gateway.admit(limits=(TOKENS,)).settle(70)
    gateway.forget_windows()

    async def other():
        await gateway.limiter.peek(a_policy_of(KEY, (TOKENS,)))
        await exchange.settling(70, again=True)

    gateway.meanwhile = [other]
    assert gateway.windows((TOKENS,))[0][0] == 70


def test_without_a_ledger_nobody_is_let_in_blindly(gateway):
    class Away:
        async def call(self, *question):
            raise DatabaseUnavailable("no Postgres")

    gateway.history = LedgerHistory(Away())
    with pytest.raises(LimiterUnavailable, match="no Postgres"):
        gateway.admit()


# --- Any trace at all ---------------------------------------------------------------------------

_keys = itertools.count(1_000)
steps = st.lists(
    st.sampled_from(["admit", "settle", "again", "abandon", "wait", "drain", "lose"]), max_size=25
)


@given(steps=steps, tokens=st.lists(st.integers(0, 500), min_size=25, max_size=25))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_losing_windows_changes_nothing(gateway, steps, tokens):
    trace = Trace(gateway, next(_keys))
    for step, amount in zip(steps, tokens, strict=False):
        getattr(trace, step)(amount)
    trace.settle_all()
    before = trace.windows()
    gateway.forget_windows()
    assert trace.windows() == before
    ledger.drain()
    gateway.flush()
    assert trace.windows() == before


class Trace:
    """What happens to one key; exchanges in flight are settled or abandoned before a loss."""

    def __init__(self, gateway, number):
        self._gateway, self._number = gateway, number
        scope = f"k{number}.0"
        self._limits = (
            Limit(scope, Unit.TOKENS, 301, 10**6),
            Limit(scope, Unit.NANOUSD, 3_600, 10**12),
            Limit(scope, Unit.TOKENS, 600, 10**6, anchored=True),
        )
        self._open, self._abandoned, self._settled = [], [], []

    def windows(self):
        return self._gateway.windows(self._limits, self._number)

    def admit(self, _amount):
        self._open.append(self._gateway.admit(apikey_id=self._number, limits=self._limits))

    def settle(self, amount):
        for exchange in (self._open or self._abandoned)[-1:]:
            exchange.settle(amount)
            self._settled.append((exchange, amount))
            self._open = [one for one in self._open if one is not exchange]
            self._abandoned = [one for one in self._abandoned if one is not exchange]

    def again(self, _amount):
        for exchange, amount in self._settled[-1:]:
            exchange.settle(amount, again=True)

    def abandon(self, _amount):
        self._gateway.abandon_all()
        self._abandoned, self._open = self._abandoned + self._open, []

    def wait(self, amount):
        self._gateway.wait(amount)

    def drain(self, _amount):
        ledger.drain()

    def lose(self, _amount):
        self.settle_all()
        self._gateway.forget_windows()

    def settle_all(self):
        while self._open:
            self.settle(7)
