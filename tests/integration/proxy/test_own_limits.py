"""Limits of accounts' own in several processes, over a real Valkey."""

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from redis.asyncio import Redis

from proxy.own_limits import Full, OwnLimits
from tests.unit.proxy.core.accounts import an_account

NARROW = an_account(7, concurrency=2)
SLOW = an_account(8, rpm=3)


@asynccontextmanager
async def a_process(valkey_url, **options):
    async with Redis.from_url(valkey_url) as client:
        given = {"lease_ttl_s": 60, "renew_s": 20, "seconds_max": 1}
        limits = OwnLimits(client, **(given | options))
        limits.start()
        yield limits
        await limits.stop()


@pytest.fixture
async def processes(valkey, valkey_url):
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(a_process(valkey_url)) for _process in range(2)]


async def is_full(limits, account):
    try:
        await limits.take(account)
    except Full as full:
        return full.wait_s
    return None


async def until(probe, seconds=2.0):
    deadline = time.monotonic() + seconds
    while not await probe():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_an_account_without_limits_costs_no_call(processes, valkey):
    assert await processes[0].take(an_account()) is None
    assert valkey.keys() == []


async def test_places_are_counted_over_all_processes(processes):
    here, there = processes
    lease = await here.take(NARROW)
    await there.take(NARROW)
    assert [await is_full(limits, NARROW) for limits in processes] == [1, 1]
    lease.release()

    async def has_room():
        return await is_full(there, NARROW) is None

    await until(has_room)


async def test_places_are_taken_as_races(processes):
    tries = (is_full(processes[number % 2], NARROW) for number in range(100))
    assert [wait_s for wait_s in await asyncio.gather(*tries) if wait_s is None] == [None, None]


async def test_the_place_of_a_process_that_died_expires(processes, valkey_url):
    async with a_process(valkey_url, lease_ttl_s=0.1) as dying:
        await dying.take(NARROW)
        await dying.take(NARROW)
    assert await is_full(processes[0], NARROW) == 1
    await asyncio.sleep(0.11)
    assert await is_full(processes[0], NARROW) is None


async def test_a_place_that_is_renewed_does_not_expire(processes, valkey_url):
    async with a_process(valkey_url, lease_ttl_s=0.3, renew_s=0.05) as living:
        held = [await living.take(NARROW), await living.take(NARROW)]
        await asyncio.sleep(0.5)
        assert await is_full(processes[0], NARROW) == 1
        del held


async def test_requests_a_minute_are_counted_over_all_processes(processes):
    here, there = processes
    for limits in (here, there, here):
        assert await limits.take(SLOW) is None
    assert await is_full(there, SLOW) == pytest.approx(60, abs=2)


async def test_a_minute_that_has_passed_is_forgotten(processes, valkey):
    now_s = valkey.time()[0]
    valkey.hset("{a8}:minute", mapping={str(now_s - 61): 5, str(now_s - 50): 2})
    assert await is_full(processes[0], SLOW) is None
    assert await is_full(processes[0], SLOW) == pytest.approx(10, abs=2)
    assert str(now_s - 61).encode() not in valkey.hgetall("{a8}:minute")


async def test_a_refused_request_is_not_counted(processes, valkey):
    both = an_account(9, concurrency=0, rpm=5)
    assert await is_full(processes[0], both) == 1
    assert not valkey.exists("{a9}:minute")


@pytest.mark.parametrize("account", [an_account(7, concurrency=0), an_account(7, rpm=0)])
async def test_a_limit_of_zero_lets_nothing_through(processes, account):
    assert await is_full(processes[0], account) is not None


async def test_nothing_that_lies_in_valkey_can_be_evicted(processes, valkey):
    await processes[0].take(an_account(7, concurrency=1, rpm=1))
    assert [valkey.ttl(key) for key in ("{a7}:slots", "{a7}:minute")] == [-1, -1]


async def test_without_valkey_an_account_is_used():
    async with a_process("unix:///nowhere/valkey.sock") as limits:
        lease = await limits.take(NARROW)
        lease.release()
