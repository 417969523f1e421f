"""Listens to a channel of Valkey for as long as the process lives, and tells when it cannot."""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

# How soon a link that died in silence is noticed.
LINK_CHECK_S = 0.5
STOP_AGAIN_S = 0.2


async def listen_forever(
    valkey: "Redis", name: str, *, heard: Callable[[bytes | None], None], lost: Callable[[], None]
) -> None:
    """Call `heard` with each message of the channel `name`, and `lost` whenever the link breaks.

    It is called with `None` when the channel is joined: what was said until then went unheard.
    """
    while True:
        try:
            await _follow(valkey, name, heard)
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


async def _follow(valkey: "Redis", name: str, heard: Callable[[bytes | None], None]) -> None:
    async with valkey.pubsub() as channel:
        await channel.subscribe(name)
        silent = 0
        while silent < 3:
            message = await channel.get_message(timeout=LINK_CHECK_S)
            if message is None:
                silent += 1
                await channel.ping()
                continue
            silent = 0
            if message["type"] in ("subscribe", "message"):
                heard(message["data"] if message["type"] == "message" else None)
        raise TimeoutError("no answer to three pings")
