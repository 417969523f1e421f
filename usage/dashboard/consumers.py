"""The socket of what moves now: it pushes answers, listens to nothing, and ends with its session.

Bounds: `reader.WATCHERS_MAX` sockets in a process, each with one answer that waits at most; who
does not take an answer in `SEND_SECONDS_MAX` is dropped, and so is who talks.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import Error, connection

from usage.dashboard.reader import Full, Watcher, reader
from usage.dashboard.viewer import Viewer, viewer_of

# How soon a socket ends whose session has: its key was revoked, its person left or was closed.
LOOK_AGAIN_S = 2.0
SEND_SECONDS_MAX = 10.0
# Somebody who stays for longer opens another socket, wherever that leads by then.
SOCKET_SECONDS_MAX = 3600.0

SIGNED_OUT, TOO_MANY, TALKS, SLOW = 4401, 4429, 4400, 4408


class LiveUsage(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One viewer's socket."""

    _pushing: "asyncio.Task[None] | None" = None
    _watcher: Watcher | None = None

    async def connect(self) -> None:
        viewer = await self._look()
        if viewer is None:
            await self._refuse(SIGNED_OUT)
            return
        try:
            self._watcher = reader.join(viewer)
        except Full:
            await self._refuse(TOO_MANY)
            return
        await self.accept()
        self._pushing = asyncio.create_task(self._push(self._watcher))

    async def receive(self, **_said: Any) -> None:
        await self.close(TALKS)

    async def disconnect(self, _code: int) -> None:
        if self._watcher is not None:
            reader.leave(self._watcher)
        if self._pushing is not None and self._pushing is not asyncio.current_task():
            self._pushing.cancel()

    async def _push(self, watcher: Watcher) -> None:
        began = looked = time.monotonic()
        while time.monotonic() - began < SOCKET_SECONDS_MAX:
            text = await _newest(watcher)
            if time.monotonic() - looked >= LOOK_AGAIN_S:
                looked = time.monotonic()
                if not await self._still(watcher):
                    await self._end(SIGNED_OUT)
                    return
            if text is not None and not await self._sent(text):
                return
        await self._end(1000)

    async def _still(self, watcher: Watcher) -> bool:
        try:
            viewer = await self._look()
        except Error:
            return True  # Nobody is signed out because Postgres is away; nothing arrives either.
        if viewer is None:
            return False
        watcher.viewer = viewer
        return True

    async def _sent(self, text: bytes) -> bool:
        try:
            async with asyncio.timeout(SEND_SECONDS_MAX):
                await self.send(text_data=text.decode())
        except TimeoutError:
            await self._end(SLOW)
            return False
        return True

    async def _end(self, code: int) -> None:
        if self._watcher is not None:
            reader.leave(self._watcher)
        with suppress(TimeoutError):
            async with asyncio.timeout(SEND_SECONDS_MAX):
                await self.close(code)

    async def _refuse(self, code: int) -> None:
        # Accepted first: a browser is told the code of a socket that was open, and of no other.
        await self.accept()
        await self.close(code)

    async def _look(self) -> Viewer | None:
        signed_in, address = self.scope["signed_in"], self.scope["address"]
        return await sync_to_async(_viewer, thread_sensitive=False)(signed_in, address)


async def _newest(watcher: Watcher) -> bytes | None:
    try:
        # Also when nothing arrives, because Postgres is away, a session can end.
        async with asyncio.timeout(LOOK_AGAIN_S):
            return await watcher.take()
    except TimeoutError:
        return None


def _viewer(signed_in: Callable[[], tuple[Any, Any]], address: str | None) -> Viewer | None:
    try:
        session, user = signed_in()
        return viewer_of(user, session, address)
    finally:
        connection.close()  # The thread may not be asked again for long.
