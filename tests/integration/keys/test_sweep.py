import asyncio

import pytest
from redis.asyncio import Redis

from keys.core.limits import Concurrency, Limit, Unit, Wanted
from keys.limiter import Limiter, Past, Settlement, source
from keys.sweep import MOST_AT_ONCE, sweep
from tests.policies import a_policy

NOON_MS = 1_772_368_200_000
TTL_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
TOKENS = Limit("k1.0", Unit.TOKENS, 3_600, 1_000)
POLICY = a_policy(limits=(TOKENS,), concurrencies=(Concurrency("k1.0", None),))
WANTED = Wanted(100, 100, 0, 0, 40, 0)
LEASES = "{s00}:leases"


async def no_past(limit, backlog):
    return Past(())


@pytest.fixture
def run(valkey, valkey_url):
    """Runs one thing with a limiter whose clock shows the instant given."""

    def run(what, at_ms=NOON_MS):
        async def running():
            clock = at_ms.__int__
            async with (
                Redis.from_url(valkey_url) as client,
                Limiter(client, no_past, lease_ttl_ms=TTL_MS, now_ms=clock) as limiter,
            ):
                await what(limiter)

        asyncio.run(running())

    return run


@pytest.fixture
def sweep_at(valkey):
    """Sweeps one shard at the instant given: abandoned, tombs forgotten, windows dropped."""
    script = valkey.register_script(source("sweep"))
    return lambda at_ms, most=1000: script(keys=[LEASES], args=[at_ms, most])


def admit(exchange="e1", policy=POLICY):
    return lambda limiter: limiter.admit(policy, exchange, WANTED, b"{}")


def settle(exchange="e1", tokens=70, policy=POLICY):
    settlement = Settlement(policy.shard, exchange, policy.scopes, b"{}", tokens, 0, b"{}")
    return lambda limiter: limiter.settle(settlement, again=False)


def names(valkey):
    """All keys but the one in each shard that says when it began to count."""
    return sorted(key.decode() for key in valkey.scan_iter() if not key.endswith(b":began"))


# What the drain drops when it is past it.
FOR_THE_DRAIN = ["{s00}:events", "{s00}:settled"]


def test_a_lease_that_expired_is_abandoned_and_one_that_lives_is_not(valkey, run, sweep_at):
    run(admit("old"))
    run(admit("young"), NOON_MS + 1)
    assert sweep_at(NOON_MS + TTL_MS) == [1, 0, 0]
    assert valkey.zrange(LEASES, 0, -1) == [b"young"]
    assert valkey.hget("{s00}:c:k1.0", "f") == b"1"


def test_every_shard_is_swept(valkey, run):
    # Leases of long ago, on Valkey's own clock.
    for shard in (0, 7, 15):
        run(admit(f"e{shard}", a_policy(shard=shard)))
    assert sweep(valkey) == 3
    assert sweep(valkey) == 0


def test_more_than_one_call_abandons_are_all_abandoned(valkey, run):
    policy = a_policy(concurrencies=POLICY.concurrencies)

    async def crowd(limiter):
        for number in range(MOST_AT_ONCE + 10):
            await admit(f"e{number}", policy)(limiter)

    run(crowd)
    assert sweep(valkey) == MOST_AT_ONCE + 10


def test_no_call_does_more_than_its_share(run, sweep_at):
    async def crowd(limiter):
        for number in range(5):
            await admit(f"e{number}")(limiter)

    run(crowd)
    assert sweep_at(NOON_MS + TTL_MS, 3) == [3, 0, 0]
    assert sweep_at(NOON_MS + TTL_MS, 3) == [2, 0, 0]


def test_an_abandoned_exchange_is_known_for_six_hours(valkey, run, sweep_at):
    run(admit())
    sweep_at(NOON_MS + TTL_MS)
    end_ms = NOON_MS + TTL_MS + 6 * HOUR_MS
    assert sweep_at(end_ms - 1) == [0, 0, 0]
    assert valkey.exists("{s00}:x:e1")
    assert sweep_at(end_ms) == [0, 1, 0]
    assert not valkey.exists("{s00}:x:e1", "{s00}:tombs")


def test_a_window_is_dropped_a_day_after_its_last_use_left(valkey, run, sweep_at):
    run(admit())
    run(settle())
    # Used at the beginning of a bucket of 12 s, it leaves an hour and a bucket later.
    end_ms = NOON_MS + HOUR_MS + 12_000 + DAY_MS
    assert sweep_at(end_ms - 1) == [0, 0, 0]
    assert sweep_at(end_ms) == [0, 0, 1]
    assert names(valkey) == FOR_THE_DRAIN


def test_a_window_in_which_something_is_held_stays(valkey, run, sweep_at):
    long_lease = NOON_MS + 40 * DAY_MS

    async def admit_for_long(limiter):
        await admit()(limiter)
        valkey.zadd(LEASES, {"e1": long_lease})

    run(admit_for_long)
    assert sweep_at(NOON_MS + 30 * DAY_MS) == [0, 0, 0]
    assert valkey.hget("{s00}:w:k1.0:tok:3600", "h") == b"100"


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param(TOKENS, id="rolling"),
        pytest.param(Limit("k1.0", Unit.TOKENS, 3_600, 9, anchored=True), id="anchored"),
        pytest.param(Limit("k1.0", Unit.REQUESTS, 60, 9), id="requests"),
    ],
)
def test_nothing_is_left_of_an_idle_key(valkey, run, sweep_at, limit):
    policy = a_policy(limits=(limit,), concurrencies=(Concurrency("k1.0", 5),))
    run(admit(policy=policy))
    run(settle(policy=policy))
    sweep_at(NOON_MS + 3 * DAY_MS)
    assert names(valkey) == FOR_THE_DRAIN


def test_nothing_is_left_of_a_key_without_limits_once_it_is_settled(valkey, run):
    policy = a_policy(concurrencies=(Concurrency("k1.0", None),))
    run(admit(policy=policy))
    run(settle(policy=policy))
    assert names(valkey) == FOR_THE_DRAIN


def test_a_window_that_is_used_again_is_kept(valkey, run, sweep_at):
    run(admit())
    run(settle())
    run(admit("e2"), NOON_MS + DAY_MS)
    run(settle("e2"), NOON_MS + DAY_MS)
    assert sweep_at(NOON_MS + HOUR_MS + 12_000 + DAY_MS) == [0, 0, 0]
    assert valkey.exists("{s00}:w:k1.0:tok:3600")
