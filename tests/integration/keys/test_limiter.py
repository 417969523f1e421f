"""The limiter on a real Valkey: every way to settle, lost replies, and races run as races."""

import asyncio
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from keys.core.limits import Admitted, Concurrency, Denied, Limit, Reason, Unit, Wanted
from keys.limiter import (
    AdmissionUnknown,
    Limiter,
    LimiterUnavailable,
    Past,
    Progress,
    Settlement,
    source,
)
from tests.lossy_link import lossy_link
from tests.policies import a_policy

NOON_MS = 1_772_368_200_000
TTL_MS = 60_000
TOKENS = Limit("k1.0", Unit.TOKENS, 3_600, 1_000)
RPM = Limit("k1.0", Unit.REQUESTS, 60, 10)
POLICY = a_policy(limits=(RPM, TOKENS), concurrencies=(Concurrency("k1.0", 3),))
WANTED = Wanted(
    tokens=100,
    tokens_strict=300,
    nanousd=0,
    nanousd_strict=0,
    input_tokens=40,
    input_nanousd=0,
)
EXCHANGE = "e1"


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self):
        self.now_ms = NOON_MS

    def __call__(self):
        return self.now_ms


class Ledger:
    """What the ledger says of every window: nothing, unless told."""

    def __init__(self):
        self.past = Past(())

    async def __call__(self, limit, backlog):
        return self.past if limit.unit is Unit.TOKENS else Past(())


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
async def limiter(valkey, valkey_url, clock, ledger):
    async with (
        Redis.from_url(valkey_url) as client,
        Limiter(client, ledger, lease_ttl_ms=TTL_MS, now_ms=clock) as limiter,
    ):
        yield limiter


@pytest.fixture
async def link(valkey, valkey_url, clock, ledger):
    """A link that can lose replies, and the limiter behind it."""
    # Not in pytest's own folder: a socket's path has room for 107 characters.
    with TemporaryDirectory(prefix="claudcode-link-") as folder:
        async with (
            lossy_link(valkey_url, Path(folder)) as (link, url),
            _sends_once(url) as client,
            Limiter(client, ledger, lease_ttl_ms=TTL_MS, now_ms=clock) as limiter,
        ):
            yield link, limiter


def _sends_once(url):
    # As the gateway's: the client must not send a script again by itself.
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0))


async def admit(limiter, exchange=EXCHANGE, *, policy=POLICY, wanted=WANTED):
    return await limiter.admit(policy, exchange, wanted, b'{"opening": 1}')


def a_settlement(exchange=EXCHANGE, tokens=70, policy=POLICY) -> Settlement:
    opening, closing = b'{"opening": 1}', b'{"closing": 1}'
    return Settlement(policy.shard, exchange, policy.scopes, opening, tokens, 0, closing)


async def standing(limiter, policy=POLICY):
    """Return requests used, tokens used, tokens held, and exchanges in flight."""
    requests, tokens = (await limiter.peek(policy)).readings
    return requests.used, tokens.used, tokens.held, (await limiter.peek(policy)).in_flight[0]


def told(valkey):
    """Return the exchange, the instant and the closing of every event."""
    events = (fields for _id, fields in valkey.xrange("{s00}:events"))
    return [(e[b"x"].decode(), int(e[b"t"]), e[b"c"]) for e in events]


SETTLED = (EXCHANGE, NOON_MS, b'{"closing": 1}')


# --- Ways to settle -----------------------------------------------------------------------------


async def test_an_admission_holds_and_a_settlement_replaces_what_was_held(limiter, valkey):
    await admit(limiter)
    assert await standing(limiter) == (1, 0, 100, 1)
    await limiter.settle(a_settlement(), again=False)
    assert await standing(limiter) == (1, 70, 0, 0)
    assert told(valkey) == [SETTLED]


async def test_an_admission_that_is_repeated_takes_one_place(limiter):
    await admit(limiter)
    assert isinstance(await admit(limiter), Admitted)
    assert await standing(limiter) == (1, 0, 100, 1)


async def test_to_settle_again_what_was_settled_charges_nothing_more(limiter, valkey):
    await admit(limiter)
    await limiter.settle(a_settlement(), again=False)
    await limiter.settle(a_settlement(), again=True)
    assert await standing(limiter) == (1, 70, 0, 0)
    # The event may have been lost with the first reply; the ledger takes an exchange once.
    assert told(valkey) == [SETTLED, SETTLED]


async def test_to_settle_again_what_was_not_settled_settles_it(limiter, valkey):
    await admit(limiter)
    await limiter.settle(a_settlement(), again=True)
    assert await standing(limiter) == (1, 70, 0, 0)
    assert told(valkey) == [SETTLED]


async def test_an_exchange_that_the_store_forgot_counts_as_its_holder_says(limiter, valkey):
    await admit(limiter)
    valkey.flushdb()
    await limiter.peek(POLICY)
    await limiter.settle(a_settlement(), again=False)
    assert await standing(limiter) == (1, 70, 0, 0)
    [(_id, event)] = valkey.xrange("{s00}:events")
    assert (event[b"k"], event[b"o"]) == (b"k1.0", b'{"opening": 1}')


@pytest.mark.parametrize(
    ("in_ledger", "charged", "events"),
    [
        pytest.param(False, 70, 1, id="what was charged is gone with the store"),
        pytest.param(True, 0, 0, id="the ledger has it, and windows loaded from there"),
    ],
)
async def test_to_settle_again_after_the_store_was_emptied(
    valkey, valkey_url, clock, ledger, in_ledger, charged, events
):
    async def is_settled(_shard, _exchange):
        return in_ledger

    async with (
        Redis.from_url(valkey_url) as client,
        Limiter(
            client, ledger, is_settled=is_settled, lease_ttl_ms=TTL_MS, now_ms=clock
        ) as limiter,
    ):
        await admit(limiter)
        settlement = a_settlement()
        await limiter.settle(settlement, again=False)  # Let its reply be lost.
        valkey.flushdb()
        clock.now_ms += 1
        await limiter.peek(POLICY)  # Loads the windows.
        await limiter.settle(settlement, again=True)
        assert (await standing(limiter))[1] == charged
        assert len(told(valkey)) == events


@pytest.mark.parametrize(
    "known", [pytest.param(True, id="admission"), pytest.param(False, id="nothing")]
)
async def test_to_settle_again_what_a_replica_that_took_over_never_heard_of(limiter, valkey, known):
    await limiter.peek(POLICY)
    if known:
        await admit(limiter)
    before = {name: valkey.dump(name) for name in valkey.scan_iter()}
    if not known:
        await admit(limiter)
    await limiter.settle(a_settlement(), again=False)  # Let its reply be lost.
    valkey.flushdb()
    for name, content in before.items():
        valkey.restore(name, 0, content)
    await limiter.settle(a_settlement(), again=True)
    assert await standing(limiter) == (1, 70, 0, 0)
    assert told(valkey) == [SETTLED]


async def test_to_settle_as_lost_what_was_settled_charges_nothing_more(limiter, valkey):
    await admit(limiter)
    await limiter.settle(a_settlement(), again=False)
    await limiter.settle_lost(a_settlement())
    assert await standing(limiter) == (1, 70, 0, 0)
    assert told(valkey) == [SETTLED, SETTLED]


async def test_to_settle_again_what_was_charged_as_lost_charges_nothing_more(
    limiter, valkey, clock
):
    await admit(limiter)
    settlement = a_settlement()
    valkey.flushdb()
    clock.now_ms += 1
    await limiter.peek(POLICY)
    await limiter.settle(settlement, again=False)  # Let its reply be lost.
    await limiter.settle(settlement, again=True)
    assert (await standing(limiter))[1] == 70


async def test_a_void_frees_everything_and_is_recorded(limiter, valkey):
    await admit(limiter)
    await limiter.void(a_settlement(tokens=0))
    assert await standing(limiter) == (1, 0, 0, 0)
    assert told(valkey) == [SETTLED]


async def test_a_void_of_what_was_never_admitted_does_nothing(limiter, valkey):
    await limiter.void(a_settlement(tokens=0))
    assert valkey.keys() == []


async def test_after_a_void_nothing_is_left_to_settle(limiter, valkey):
    await admit(limiter)
    await limiter.void(a_settlement(tokens=0))
    await limiter.void(a_settlement(tokens=0))
    assert await standing(limiter) == (1, 0, 0, 0)
    assert told(valkey) == [SETTLED]


# --- Replies that are lost ----------------------------------------------------------------------


async def test_an_admission_whose_reply_is_lost_is_in_doubt_and_a_void_undoes_it(link, limiter):
    lossy, far = link
    await far.peek(POLICY)
    lossy.lose_the_next_reply()
    with pytest.raises(AdmissionUnknown):
        await admit(far)
    assert await standing(limiter) == (1, 0, 100, 1)
    await far.void(a_settlement(tokens=0))
    assert await standing(limiter) == (1, 0, 0, 0)


async def test_a_settlement_whose_reply_is_lost_is_charged_once(link, limiter, valkey):
    lossy, far = link
    await admit(far)
    await far.void(a_settlement("another"))  # Now the store has the script.
    lossy.lose_the_next_reply()
    with pytest.raises(LimiterUnavailable):
        await far.settle(a_settlement(), again=False)
    await far.settle(a_settlement(), again=True)
    assert await standing(limiter) == (1, 70, 0, 0)
    assert told(valkey) == [SETTLED, SETTLED]


async def test_a_store_that_fails_again_and_again_is_left_alone_for_a_moment(link):
    lossy, far = link
    await far.peek(POLICY)
    for _failure in range(3):
        lossy.lose_the_next_reply()
        with pytest.raises(LimiterUnavailable):
            await far.renew(0, [Progress(EXCHANGE, 0, 0, b"")])
    with pytest.raises(LimiterUnavailable, match="a moment ago"):
        await admit(far)


# --- Windows and the clock ------------------------------------------------------------------------


async def use(limiter, exchange, tokens):
    await admit(limiter, exchange)
    await limiter.settle(a_settlement(exchange, tokens), again=False)


@pytest.mark.parametrize(
    ("later_ms", "used"),
    [
        # Buckets of 12 s; noon begins one, and a bucket leaves an hour after its last instant.
        pytest.param(3_611_999, 12, id="the first is still in"),
        pytest.param(3_612_000, 2, id="the first has left, the next has not"),
        pytest.param(3_623_999, 2, id="the next is still in"),
        pytest.param(3_624_000, 0, id="all have left"),
    ],
)
async def test_a_bucket_leaves_in_the_millisecond_it_should(limiter, clock, later_ms, used):
    await use(limiter, "first", 10)
    clock.now_ms += 12_000
    await use(limiter, "next", 2)
    clock.now_ms = NOON_MS + later_ms
    assert (await standing(limiter))[1] == used


async def test_what_lies_ahead_of_a_clock_set_back_counts_as_used_now(limiter, clock):
    await use(limiter, "ahead", 10)
    clock.now_ms -= 86_400_000
    verdict = await limiter.peek(POLICY)
    assert [r.used for r in verdict.readings] == [1, 10]
    assert verdict.readings[1].frees_at_ms == clock.now_ms + 3_612_000


async def test_an_anchored_window_ahead_of_a_clock_set_back_begins_now(limiter, clock):
    anchored = Limit("k1.0", Unit.TOKENS, 3_600, 1_000, anchored=True)
    policy = a_race_policy(anchored)
    await admit(limiter, policy=policy)
    clock.now_ms -= 86_400_000
    [reading] = (await limiter.peek(policy)).readings
    assert (reading.held, reading.frees_at_ms) == (100, clock.now_ms + 3_600_000)


# --- Leases -------------------------------------------------------------------------------------


async def test_a_lease_that_expires_is_charged_its_input_and_recorded(limiter, valkey, clock):
    await admit(limiter)
    clock.now_ms += TTL_MS
    await admit(limiter, "another")
    assert await standing(limiter) == (2, 40, 100, 1)
    assert told(valkey) == [(EXCHANGE, NOON_MS + TTL_MS, b"")]


async def test_a_lease_lasts_until_the_millisecond_it_expires(limiter, clock):
    await admit(limiter)
    clock.now_ms += TTL_MS - 1
    await admit(limiter, "another")
    assert await standing(limiter) == (2, 0, 200, 2)


@pytest.mark.parametrize(
    ("tokens", "charged", "closing"),
    [
        pytest.param(39, 40, b"", id="less than the input"),
        pytest.param(40, 40, b"so far", id="as much"),
        pytest.param(95, 95, b"so far", id="more"),
    ],
)
async def test_an_abandoned_exchange_is_charged_what_it_had_come_to(
    limiter, valkey, clock, tokens, charged, closing
):
    await admit(limiter)
    assert await limiter.renew(0, [Progress(EXCHANGE, tokens, 0, b"so far")]) == []
    clock.now_ms += TTL_MS
    await admit(limiter, "another")
    assert (await standing(limiter))[1] == charged
    assert told(valkey)[0][2] == closing


async def test_a_renewed_lease_lasts_from_then(limiter, clock):
    await admit(limiter)
    clock.now_ms += TTL_MS - 1
    await limiter.renew(0, [Progress(EXCHANGE, 0, 0, b"")])
    clock.now_ms += TTL_MS - 1
    await admit(limiter, "another")
    assert (await standing(limiter))[3] == 2


async def test_a_late_settlement_replaces_the_abandonment(limiter, valkey, clock):
    await admit(limiter)
    clock.now_ms += TTL_MS
    await admit(limiter, "another")
    await limiter.settle(a_settlement(tokens=75), again=False)
    assert await standing(limiter) == (2, 75, 100, 1)
    assert [closing for _id, _at, closing in told(valkey)] == [b"", b'{"closing": 1}']


async def test_of_a_replaced_abandonment_nothing_is_left(limiter, valkey, clock):
    await admit(limiter)
    clock.now_ms += TTL_MS
    await admit(limiter, "another")  # Finds it abandoned.
    clock.now_ms += 12_000
    await limiter.settle(a_settlement(tokens=75), again=False)
    now = b"b%d" % (clock.now_ms // 12_000)
    fields = valkey.hkeys("{s00}:w:k1.0:tok:3600")
    assert [field for field in fields if field.startswith(b"b")] == [now]
    reading = (await limiter.peek(POLICY)).readings[1]
    assert reading.frees_at_ms == clock.now_ms // 12_000 * 12_000 + 3_612_000


@pytest.mark.parametrize("anchored", [False, True])
async def test_a_late_settlement_takes_nothing_back_from_a_window_reset_since(
    limiter, valkey, clock, anchored
):
    policy = a_race_policy(Limit("k1.0", Unit.TOKENS, 3_600, 1_000, anchored=anchored))
    await admit(limiter, policy=policy)
    clock.now_ms += TTL_MS
    await admit(limiter, "another", policy=policy)  # Finds it abandoned, and charges 40.
    reset = valkey.register_script(source("reset"))
    reset(keys=["{s00}:leases"], args=[clock.now_ms, policy.limits[0].window_name])
    await limiter.settle(a_settlement("another", 60, policy), again=False)
    await limiter.settle(a_settlement(tokens=75, policy=policy), again=False)
    [reading] = (await limiter.peek(policy)).readings
    assert reading.used == 60 + 75


async def test_a_late_settlement_takes_nothing_back_from_a_window_begun_since(limiter, clock):
    policy = a_race_policy(Limit("k1.0", Unit.TOKENS, 2, 1_000, anchored=True))
    await admit(limiter, policy=policy)
    clock.now_ms += TTL_MS
    await admit(limiter, "another", policy=policy)  # Finds it abandoned, and charges 40.
    clock.now_ms += 10_000
    await limiter.settle(a_settlement("another", 60, policy), again=False)
    for _time in range(2):
        clock.now_ms -= 86_400_000  # Twice, so that a window begins before the abandonment.
        await limiter.peek(policy)
    await limiter.settle(a_settlement(tokens=75, policy=policy), again=False)
    [reading] = (await limiter.peek(policy)).readings
    assert reading.used == 60 + 75


async def test_an_abandoned_exchange_is_not_missing(limiter, clock):
    await admit(limiter)
    clock.now_ms += TTL_MS
    await admit(limiter, "another")
    known = [Progress(EXCHANGE, 0, 0, b""), Progress("another", 0, 0, b"")]
    assert await limiter.renew(0, [*known, Progress("stranger", 0, 0, b"")]) == ["stranger"]


async def test_a_restored_lease_holds_in_windows_loaded_from_the_ledger(limiter, valkey, ledger):
    await admit(limiter)
    valkey.flushdb()
    ledger.past = Past([(NOON_MS // 12_000, 500)])
    assert await limiter.renew(0, [Progress(EXCHANGE, 0, 0, b"")]) == [EXCHANGE]
    await limiter.restore(POLICY, EXCHANGE, WANTED, b"{}")
    assert await standing(limiter) == (1, 500, 100, 1)
    await limiter.settle(a_settlement(), again=False)
    assert await standing(limiter) == (1, 570, 0, 0)


async def test_a_renewal_that_crosses_the_settlement_of_a_lost_lease_does_not_take_it(
    limiter, valkey
):
    await admit(limiter)
    valkey.flushdb()
    await limiter.peek(POLICY)
    await limiter.settle(a_settlement(), again=False)
    await limiter.restore(POLICY, EXCHANGE, WANTED, b"{}")
    assert await standing(limiter) == (1, 70, 0, 0)


async def test_a_lease_is_restored_without_a_ledger_too(valkey, valkey_url, clock):
    async def no_ledger(limit, backlog):
        raise LimiterUnavailable("no Postgres")

    async with (
        Redis.from_url(valkey_url) as client,
        Limiter(client, no_ledger, lease_ttl_ms=TTL_MS, now_ms=clock) as limiter,
    ):
        await limiter.restore(POLICY, EXCHANGE, WANTED, b"{}")
    assert valkey.zscore("{s00}:leases", EXCHANGE) == NOON_MS + TTL_MS


async def test_a_lease_is_restored_past_a_full_house(limiter):
    for number in range(3):
        await admit(limiter, f"e{number}")
    await limiter.restore(POLICY, "e9", WANTED, b"{}")
    assert (await standing(limiter))[3] == 4


# --- Values of limits ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "places", "reason"),
    [
        pytest.param((Limit("k1.0", Unit.REQUESTS, 60, 0),), None, Reason.REQUESTS, id="rpm 0"),
        pytest.param((Limit("k1.0", Unit.TOKENS, 60, 0),), None, Reason.TOKENS, id="no tokens"),
        pytest.param((Limit("k1.0", Unit.NANOUSD, 60, 0),), None, Reason.NANOUSD, id="no money"),
        pytest.param((), 0, Reason.CONCURRENCY, id="no place"),
    ],
)
async def test_a_limit_of_0_lets_nothing_in_and_says_so(limiter, limits, places, reason):
    policy = a_policy(limits=limits, concurrencies=(Concurrency("k1.0", places),))
    verdict = await admit(limiter, policy=policy)
    assert isinstance(verdict, Denied)
    assert (verdict.reason, verdict.retry_at_ms) == (reason, None)


async def test_without_limits_exchanges_are_only_counted(limiter, valkey):
    policy = a_policy(concurrencies=(Concurrency("k1.0", None),))
    for number in range(20):
        verdict = await admit(limiter, f"e{number}", policy=policy)
    assert verdict.in_flight == (20,)


@pytest.mark.parametrize(
    "most",
    [
        pytest.param(2**53 - 1, id="the most there is"),
        pytest.param(9_007_199_254_740_449, id="what fourteen digits would round down"),
    ],
)
async def test_amounts_are_exact_up_to_nine_million_dollars(limiter, most):
    money = Limit("k1.0", Unit.NANOUSD, 60, most, strict=True)
    policy = a_race_policy(money)
    wanted = Wanted(0, 0, most, most, 0, 0)
    assert isinstance(await admit(limiter, policy=policy, wanted=wanted), Admitted)
    settlement = Settlement(0, EXCHANGE, "k1.0", b"", 0, most - 1, b"{}")
    await limiter.settle(settlement, again=False)
    [reading] = (await limiter.peek(policy)).readings
    assert (reading.used, reading.held, reading.remaining) == (most - 1, 0, 1)


# --- Races: 64 clients on two limiters, on Valkey's own clock ------------------------------------

CLIENTS = 64


@pytest.fixture
async def gateways(valkey, valkey_url, ledger):
    """Two limiters with connections of their own, as two gateway processes have."""
    async with (
        # All clients may load a window at once.
        Redis.from_url(valkey_url, max_connections=2 * CLIENTS) as client,
        Limiter(client, ledger, lease_ttl_ms=TTL_MS) as one,
        Limiter(client, ledger, lease_ttl_ms=TTL_MS) as other,
    ):
        yield [one, other]


class Crowd:
    """Clients that ask as fast as they can; what was admitted and used is written down."""

    def __init__(self, gateways, policy, uses, *, name="crowd"):
        self._gateways, self._policy, self._uses, self._name = gateways, policy, uses, name
        self.verdicts = []
        self.used = []
        self.inside = self.inside_most = 0

    async def rush(self, *, calls):
        await asyncio.gather(*(self._client(number, calls) for number in range(CLIENTS)))

    async def _client(self, number, calls):
        limiter, dice = self._gateways[number % 2], random.Random(number)
        for call in range(calls):
            exchange = f"{self._name}-{number}-{call}"
            verdict = await admit(limiter, exchange, policy=self._policy)
            self.verdicts.append(verdict)
            if isinstance(verdict, Admitted):
                await self._carry_out(limiter, exchange, dice)

    async def _carry_out(self, limiter, exchange, dice):
        self.inside += 1
        self.inside_most = max(self.inside, self.inside_most)
        await asyncio.sleep(dice.random() / 200)
        tokens = dice.randint(*self._uses)
        self.used.append(tokens)
        self.inside -= 1
        await limiter.settle(a_settlement(exchange, tokens, self._policy), again=False)

    @property
    def admitted_ms(self):
        return sorted(v.now_ms for v in self.verdicts if isinstance(v, Admitted))


async def ended(gateways, policy, valkey):
    """Return what the only limit has used, after a look that nothing is left behind."""
    verdict = await gateways[0].peek(policy)
    assert [reading.held for reading in verdict.readings] == [0] * len(policy.limits)
    assert set(verdict.in_flight) == {0}
    assert valkey.keys("{s00}:x:*") == []
    assert valkey.exists("{s00}:leases") == 0
    return verdict.readings[0].used


def a_race_policy(*limits, places=None):
    return a_policy(limits=limits, concurrencies=(Concurrency("k1.0", places),))


async def test_a_strict_budget_is_never_exceeded_in_a_race(gateways, valkey):
    strict = Limit("k1.0", Unit.TOKENS, 3_600, 5_000, strict=True)
    policy = a_race_policy(strict)
    crowd = Crowd(gateways, policy, uses=(1, 300))
    await crowd.rush(calls=12)
    assert max(v.readings[0].used + v.readings[0].held for v in crowd.verdicts) <= 5_000
    assert await ended(gateways, policy, valkey) == sum(crowd.used) <= 5_000
    # Not by letting nobody in: the next might have wanted 300.
    assert sum(crowd.used) > 5_000 - 300


async def test_a_soft_budget_is_exceeded_by_no_more_than_its_bound_in_a_race(gateways, valkey):
    policy = a_race_policy(TOKENS)
    crowd = Crowd(gateways, policy, uses=(50, 200))
    await crowd.rush(calls=12)
    used = await ended(gateways, policy, valkey)
    above = sum(max(0, tokens - WANTED.tokens) for tokens in crowd.used)
    assert TOKENS.limit <= used == sum(crowd.used)
    assert used - above <= TOKENS.limit - 1 + WANTED.tokens


async def test_requests_never_exceed_their_limit_in_any_window_in_a_race(gateways, valkey):
    limit = Limit("k1.0", Unit.REQUESTS, 1, 20)
    policy = a_race_policy(limit)
    crowd = Crowd(gateways, policy, uses=(0, 0))
    async with asyncio.timeout(30):
        while not _spans(crowd.admitted_ms, seconds=3):
            await crowd.rush(calls=2)
    for first, beyond in zip(crowd.admitted_ms, crowd.admitted_ms[limit.limit :], strict=False):
        assert beyond - first > 1_000
    await ended(gateways, policy, valkey)


def _spans(instants_ms, *, seconds):
    return bool(instants_ms) and instants_ms[-1] - instants_ms[0] >= seconds * 1000


async def test_no_more_than_the_limit_are_inside_at_any_instant_of_a_race(gateways, valkey):
    policy = a_race_policy(places=5)
    crowd = Crowd(gateways, policy, uses=(0, 0))
    await crowd.rush(calls=20)
    assert crowd.inside_most == 5
    assert max(verdict.in_flight[0] for verdict in crowd.verdicts) == 5
    verdict = await gateways[0].peek(policy)
    assert verdict.in_flight == (0,)


async def test_two_keys_share_what_their_team_has_in_a_race(gateways, valkey):
    team = Limit("t1.0", Unit.TOKENS, 3_600, 4_000, strict=True)
    policies = [
        a_policy(
            limits=(Limit(f"k{number}.0", Unit.TOKENS, 3_600, 3_000, strict=True), team),
            concurrencies=(Concurrency(f"k{number}.0", None), Concurrency("t1.0", 9)),
        )
        for number in (1, 2)
    ]
    crowds = [Crowd(gateways, p, uses=(1, 300), name=p.scopes) for p in policies]
    await asyncio.gather(*(crowd.rush(calls=6) for crowd in crowds))
    used = [(await gateways[0].peek(policy)).readings for policy in policies]
    assert [readings[0].used for readings in used] == [sum(crowd.used) for crowd in crowds]
    assert used[0][1].used == sum(crowds[0].used) + sum(crowds[1].used) <= 4_000
    assert max(sum(crowd.used) for crowd in crowds) <= 3_000


async def test_a_window_that_all_ask_for_at_once_is_loaded_once(gateways, ledger, valkey):
    ledger.past = Past([(valkey.time()[0] // 12, 300)])
    strict = Limit("k1.0", Unit.TOKENS, 3_600, 5_000, strict=True)
    policy = a_race_policy(strict)
    crowd = Crowd(gateways, policy, uses=(10, 10))
    await crowd.rush(calls=1)
    assert await ended(gateways, policy, valkey) == 300 + sum(crowd.used)
