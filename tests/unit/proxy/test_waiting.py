"""Queues for a free slot: in turn within a key, woken when a slot is free."""

import asyncio
from types import SimpleNamespace

from proxy.waiting import WAITING_MAX, Waiting


def policy(apikey_id: int, scopes: str):
    return SimpleNamespace(apikey_id=apikey_id, scopes=scopes)


def test_the_first_that_came_is_first_until_it_leaves():
    waiting, key = Waiting(), policy(1, "k1.0")
    first, second = waiting.join(key), waiting.join(key)
    assert waiting.queued(key)
    assert waiting.first(first)
    assert not waiting.first(second)
    waiting.leave(first)
    assert waiting.first(second)
    waiting.leave(second)
    assert not waiting.queued(key)


async def test_a_freed_slot_calls_the_first_of_every_queue_it_may_help():
    waiting = Waiting()
    mine = waiting.join(policy(1, "k1.0 t7.0"))
    teammate = waiting.join(policy(2, "k2.0 t7.0"))
    stranger = waiting.join(policy(3, "k3.0"))
    calls = [asyncio.create_task(place.wait(0.15)) for place in (mine, teammate, stranger)]
    await asyncio.sleep(0)
    waiting.freed("k1.0 t7.0")
    await asyncio.sleep(0.02)
    assert [call.done() for call in calls] == [True, True, False]
    await asyncio.gather(*calls)


async def test_leaving_calls_the_next():
    waiting, key = Waiting(), policy(1, "k1.0")
    first, second = waiting.join(key), waiting.join(key)
    call = asyncio.create_task(second.wait(5))
    await asyncio.sleep(0)
    waiting.leave(first)
    async with asyncio.timeout(0.1):
        await call


def test_a_process_lets_only_so_many_wait():
    waiting, key = Waiting(), policy(1, "k1.0")
    places = [waiting.join(key) for _ in range(WAITING_MAX)]
    assert waiting.join(key) is None
    waiting.leave(places[0])
    assert waiting.join(key) is not None
