"""Rests of accounts in several processes, over a real Valkey."""

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from django.test import override_settings
from redis.asyncio import Redis

from proxy.core.selection import Standing
from proxy.core.upstream_error import Fault
from proxy.rest import KEY, SharedRests, resting, wake
from tests.unit.proxy.core.accounts import an_account

ACCOUNT, HAIKU, OPUS = an_account(7), "claude-haiku-4-5", "claude-opus-4-6"
READY, RESTING, CLOSED = Standing


@asynccontextmanager
async def a_process(valkey_url):
    """The rests of one gateway process, linked to the others."""
    async with Redis.from_url(valkey_url) as client:
        rests = SharedRests(client)
        rests.start()
        await until(lambda: rests.linked)
        yield rests
        await rests.stop()


@pytest.fixture
async def processes(valkey, valkey_url):
    """Two of them."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(a_process(valkey_url)) for _process in range(2)]


async def until(probe, seconds=2.0):
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def overload(rests, account=ACCOUNT, **options):
    rests.failed(account, HAIKU, Fault.OVERLOADED, sent_at=time.monotonic(), **options)


async def test_a_rest_is_known_to_another_process_within_a_second(processes):
    here, there = processes
    overload(here, retry_after_s=60, status=429)
    assert here.standing(ACCOUNT, HAIKU) is CLOSED
    await until(lambda: there.standing(ACCOUNT, HAIKU) is CLOSED, seconds=1)
    assert there.left_s(ACCOUNT, HAIKU) == pytest.approx(60, abs=1)
    assert there.standing(ACCOUNT, OPUS) is READY


async def test_a_process_that_starts_later_reads_what_there_is(processes, valkey, valkey_url):
    overload(processes[0], retry_after_s=60)
    await until(lambda: valkey.hlen(KEY))
    async with a_process(valkey_url) as late:
        await until(lambda: late.standing(ACCOUNT, HAIKU) is CLOSED, seconds=1)


async def test_an_answer_ends_a_guessed_rest_everywhere(processes, valkey):
    here, there = processes
    here.failed(ACCOUNT, HAIKU, Fault.SPENT, sent_at=time.monotonic())
    await until(lambda: there.standing(ACCOUNT, HAIKU) is RESTING)
    there.answered(ACCOUNT, HAIKU, sent_at=time.monotonic() + 1)
    await until(lambda: here.standing(ACCOUNT, HAIKU) is READY)
    assert not valkey.exists(KEY)


async def test_an_operator_can_wake_an_account(processes, valkey, valkey_url):
    other = an_account(8)
    here, there = processes
    overload(here, other, retry_after_s=60)
    overload(here, retry_after_s=60)
    await until(lambda: there.standing(ACCOUNT, HAIKU) is CLOSED)
    with override_settings(VALKEY_URL=valkey_url):
        wake(ACCOUNT.id)
        await until(lambda: all(r.standing(ACCOUNT, HAIKU) is READY for r in processes))
        assert set(resting()) == {other.id}
    assert {rests.standing(other, HAIKU) for rests in processes} == {CLOSED}


async def test_the_console_sees_the_last_end_and_every_reason(processes, valkey, valkey_url):
    overload(processes[0], retry_after_s=60, status=429)
    processes[0].failed(ACCOUNT, HAIKU, Fault.SPENT, sent_at=time.monotonic(), status=402)
    await until(lambda: valkey.hlen(KEY) == 2)
    with override_settings(VALKEY_URL=valkey_url):
        found = resting()[ACCOUNT.id]
    assert found.until.timestamp() == pytest.approx(time.time() + 600, abs=2)
    assert found.reason == (
        "it is out of money (HTTP 402); overloaded or rate limited (HTTP 429), for claude-haiku-4-5"
    )


async def test_a_rest_of_another_credential_does_not_count(processes, valkey):
    overload(processes[0], retry_after_s=60)
    await until(lambda: valkey.hlen(KEY))
    renewed = an_account(7, fingerprint="f" * 32)
    assert [rests.standing(renewed, HAIKU) for rests in processes] == [READY, READY]


async def test_what_is_over_is_removed_by_whoever_sees_it(processes, valkey):
    here, there = processes
    overload(here, retry_after_s=0.05)
    await until(lambda: valkey.hlen(KEY))
    await asyncio.sleep(0.06)
    overload(there, an_account(8), retry_after_s=60)
    await until(lambda: valkey.hkeys(KEY) == [b"8.00000000 claude-haiku-4-5"])


async def test_a_shorter_rest_does_not_replace_a_longer_one(processes, valkey):
    here, there = processes
    overload(here, retry_after_s=60)
    await until(lambda: valkey.hlen(KEY))
    before = valkey.hgetall(KEY)
    there.failed(ACCOUNT, HAIKU, Fault.OVERLOADED, sent_at=time.monotonic(), retry_after_s=1)
    await asyncio.sleep(0.1)
    assert valkey.hgetall(KEY) == before


async def test_nothing_that_lies_in_valkey_can_be_evicted(processes, valkey):
    overload(processes[0], retry_after_s=60)
    await until(lambda: valkey.hlen(KEY))
    assert valkey.ttl(KEY) == -1


async def test_without_valkey_a_rest_holds_in_its_process():
    async with Redis.from_url("unix:///nowhere/valkey.sock") as client:
        rests = SharedRests(client)
        rests.start()
        overload(rests, retry_after_s=60)
        await asyncio.sleep(0.05)
        assert rests.standing(ACCOUNT, HAIKU) is CLOSED
        await rests.stop()


async def test_a_rest_that_was_not_told_survives_the_next_reading(processes, valkey_url):
    """Valkey is away when it begins; then it comes back."""
    _here, there = processes
    async with Redis.from_url("unix:///nowhere/valkey.sock") as nowhere:
        rests = SharedRests(nowhere)
        overload(rests, retry_after_s=60)
        rests._valkey = there._valkey
        await rests._read()
        assert rests.standing(ACCOUNT, HAIKU) is CLOSED
