"""Tool sessions in several processes, over a real Valkey."""

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from redis.asyncio import Redis

from webtools.sessions import OPEN, SESSIONS_MAX, OpenSessions, ToolSessions

KEY, OTHER = 7, 8


@asynccontextmanager
async def a_process(valkey_url):
    """What one gateway process knows."""
    async with Redis.from_url(valkey_url) as client:
        known = OpenSessions(client)
        known.start()
        await until(lambda: known.linked)
        yield known
        await known.stop()


@pytest.fixture
async def client(valkey, valkey_url):
    async with Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture
async def sessions(client):
    return ToolSessions(client)


@pytest.fixture
async def processes(valkey, valkey_url):
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(a_process(valkey_url)) for _process in range(2)]


async def until(probe, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_every_process_hears_of_a_session_and_of_its_end(sessions, processes):
    session_id = await sessions.open(KEY)
    await until(lambda: all(process.is_open(KEY) for process in processes))
    assert not any(process.is_open(OTHER) for process in processes)
    await sessions.close(KEY, session_id)
    await until(lambda: not any(process.is_open(KEY) for process in processes))


async def test_a_key_stays_open_until_its_last_session_is_closed(sessions, processes):
    first, second = await sessions.open(KEY), await sessions.open(KEY)
    await sessions.close(KEY, first)
    await sessions.open(OTHER)
    await until(lambda: processes[0].is_open(OTHER))
    assert processes[0].is_open(KEY)
    await sessions.close(KEY, second)
    await until(lambda: not processes[0].is_open(KEY))


async def test_a_process_that_starts_later_reads_what_is_open(sessions, valkey_url):
    await sessions.open(KEY)
    async with a_process(valkey_url) as late:
        assert late.is_open(KEY)
        assert not late.is_open(OTHER)


async def test_a_session_that_nobody_renews_ends(client, processes, valkey):
    await ToolSessions(client, ttl_s=0.3).open(KEY)
    await until(lambda: processes[0].is_open(KEY))
    await until(lambda: not processes[0].is_open(KEY))
    await ToolSessions(client).open(OTHER)
    assert [int(key) for key in valkey.zrange(OPEN, 0, -1)] == [OTHER]


async def test_a_renewed_session_lasts_its_whole_time_again(client, processes, valkey):
    brief, usual = ToolSessions(client, ttl_s=1), ToolSessions(client)
    session_id = await brief.open(KEY)
    before = valkey.zscore(OPEN, KEY)
    await usual.renew(KEY, session_id)
    assert valkey.zscore(OPEN, KEY) - before > 100_000
    assert valkey.zcard(f"{{tools}}:k{KEY}") == 1


async def test_renewing_a_session_that_was_forgotten_opens_it(sessions, processes, valkey):
    session_id = await sessions.open(KEY)
    await until(lambda: processes[0].is_open(KEY))
    await sessions.close(KEY, session_id)
    await until(lambda: not processes[0].is_open(KEY))
    await sessions.renew(KEY, session_id)
    await until(lambda: processes[0].is_open(KEY))


async def test_a_key_has_so_many_sessions_and_no_more(sessions, valkey):
    opened = [await sessions.open(KEY) for _session in range(SESSIONS_MAX + 3)]
    held = {name.decode() for name in valkey.zrange(f"{{tools}}:k{KEY}", 0, -1)}
    assert len(held) == SESSIONS_MAX
    assert opened[-1] in held


async def test_sessions_that_ended_leave_no_trace_in_a_process(client, processes):
    brief = ToolSessions(client, ttl_s=0.05)
    for apikey_id in range(100, 150):
        await brief.open(apikey_id)
    await until(lambda: 149 in processes[0]._ends and not processes[0].is_open(149))
    await ToolSessions(client).open(KEY)
    await until(lambda: processes[0].is_open(KEY))
    assert list(processes[0]._ends) == [KEY]


async def test_a_process_that_lost_its_link_catches_up(sessions, processes, client):
    session_id = await sessions.open(KEY)
    await until(lambda: processes[0].is_open(KEY))
    await client.client_kill_filter(_type="pubsub")
    # Nobody hears of this; it is read when the channel is joined again.
    await sessions.close(KEY, session_id)
    await sessions.open(OTHER)
    await until(lambda: processes[0].is_open(OTHER), 10)
    assert not processes[0].is_open(KEY)


async def test_what_is_opened_is_known_when_it_has_spread(sessions, processes):
    await sessions.open(KEY)
    await processes[0].spread(KEY)
    assert processes[0].is_open(KEY)


async def test_what_nobody_announces_is_not_waited_for_for_ever(processes):
    async with asyncio.timeout(30):
        await processes[0].spread(OTHER)
    assert not processes[0].is_open(OTHER)
