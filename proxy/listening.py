"""Listens to a channel of Valkey for as long as the process lives, and tells when it cannot.

In a cluster every node hears what is said on any; one that was cut off from the others answers as
before and hears nothing. So the node is asked, too, whether it is with the others; and Sentinel,
whether the server is still the primary.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ConnectionError, RedisError

from keys.valkey import AsyncValkey

logger = logging.getLogger(__name__)

# How soon a link that died in silence is noticed.
LINK_CHECK_S = 0.5
STOP_AGAIN_S = 0.2
# How soon a server is noticed that answers but no longer hears what others say.
CONFIRM_EVERY_S = 1.0


async def listen_forever(
    valkey: AsyncValkey,
    name: str,
    *,
    heard: Callable[[bytes | None], None],
    lost: Callable[[], None],
) -> None:
    """Call `heard` with each message of the channel `name`, and `lost` whenever the link breaks.

    It is called with `None` when the channel is joined: what was said until then went unheard.
    """
    while True:
        try:
            async with _server(valkey) as (server, confirm):
                await _follow(server, confirm, name, heard)
        except (RedisError, OSError, TimeoutError) as error:
            logger.warning("the link to the channel %s is down: %s", name, error)
        finally:
            lost()
        await asyncio.sleep(LINK_CHECK_S)


async def end(tasks: Collection["asyncio.Task[Any]"]) -> None:
    """Cancel `tasks` until they have ended."""
    left = set(tasks)
    while left:
        # redis-py takes a cancellation that meets one of its time-outs for the time-out.
        for task in left:
            task.cancel()
        _done, left = await asyncio.wait(left, timeout=STOP_AGAIN_S)


# Raises if the server is not one to listen to any more.
_Confirm = Callable[[], Awaitable[None]]


@contextlib.asynccontextmanager
async def _server(valkey: AsyncValkey) -> AsyncIterator[tuple["Redis", _Confirm]]:
    if isinstance(valkey, RedisCluster):
        async with _node(valkey) as node:
            yield node, lambda: _with_the_others(node)
        return
    pool = valkey.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        named = await pool.get_master_address()
        yield valkey, lambda: _still_named(pool, named)
    else:
        yield valkey, _nothing_to_confirm


@contextlib.asynccontextmanager
async def _node(cluster: RedisCluster) -> AsyncIterator["Redis"]:
    """Connect to some primary; after a failure it is perhaps another."""
    await cluster.initialize()
    node = random.choice(cluster.get_primaries())
    pool = ConnectionPool(connection_class=node.connection_class, **node.connection_kwargs)
    client = Redis.from_pool(pool)
    try:
        yield client
    finally:
        await client.aclose()


async def _with_the_others(node: "Redis") -> None:
    state = await node.execute_command("CLUSTER INFO")
    if state["cluster_state"] != "ok":
        raise ConnectionError("the node is not with the others of its cluster")


async def _still_named(pool: SentinelConnectionPool, named: tuple[str, int]) -> None:
    if await pool.get_master_address() != named:
        raise ConnectionError("Sentinel names another primary")


async def _nothing_to_confirm() -> None:
    pass


async def _follow(
    server: "Redis", confirm: _Confirm, name: str, heard: Callable[[bytes | None], None]
) -> None:
    async with server.pubsub() as channel:
        await channel.subscribe(name)
        silent, confirmed_at = 0, time.monotonic()
        while silent < 3:
            message = await channel.get_message(timeout=LINK_CHECK_S)
            if time.monotonic() - confirmed_at > CONFIRM_EVERY_S:
                await confirm()
                confirmed_at = time.monotonic()
            if message is None:
                silent += 1
                await channel.ping()
                continue
            silent = 0
            if message["type"] in ("subscribe", "message"):
                heard(message["data"] if message["type"] == "message" else None)
        raise TimeoutError("no answer to three pings")
