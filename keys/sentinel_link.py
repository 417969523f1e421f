"""A link to the primary that Sentinel names. A primary that was replaced may live on and take
writes that nobody will ever see, so Sentinel is asked every second whom it names now.
"""

import asyncio
import contextlib
from typing import Any

from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import RedisError

from keys.link import Link

# Sentinel takes some seconds to replace a primary; this is on top.
ASK_EVERY_S = 1.0


class SentinelLink(Link):
    """A link that breaks when Sentinel names another primary, and then leads there."""

    def __init__(self, server: SentinelConnectionPool, *arguments: Any, **options: Any) -> None:
        super().__init__(server, *arguments, **options)
        self._pool = server
        self._following: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
        await super().close()

    async def _connect(self) -> None:
        await super()._connect()
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(ASK_EVERY_S)
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                named = await self._pool.get_master_address()
                connection = self._connection
                if connection is not None and named != (connection.host, connection.port):
                    self._break("Sentinel names another primary")
