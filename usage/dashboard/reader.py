"""One reader for all who watch in this process: it reads while somebody watches, and only then.

A reading is made every `EVERY_S`; if one takes long, the next waits ten times as long, so that
watching never takes more than a tenth of a connection. Each watcher is handed the newest answer
alone: whoever is slow misses some, and nothing is ever kept for them.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from django.db import Error, connections

from usage.dashboard import recent
from usage.dashboard.live import answer
from usage.dashboard.viewer import Viewer

# With the drain's second, a settled exchange is on the screen within two.
EVERY_S = 0.7
REST_FACTOR = 10
# What a reading may take without a longer rest.
LEISURE_S = 1.0
WATCHERS_MAX = 200
# Somebody who polls is answered out of a reading of this age at most.
POLLED_AGE_S = EVERY_S

logger = logging.getLogger(__name__)


class Full(Exception):
    """As many watch through this process as may."""


class Watcher:
    """A place among those who watch; `viewer` may be replaced when what they may see changes."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self._newest: bytes | None = None
        self._arrived = asyncio.Event()

    def hand(self, text: bytes) -> None:
        """Replace what has not been taken yet."""
        self._newest = text
        self._arrived.set()

    async def take(self) -> bytes:
        """Return the newest answer, once."""
        await self._arrived.wait()
        self._arrived.clear()
        assert self._newest is not None
        return self._newest


class Reader:
    """Reads for its watchers in a task that lives as long as there are any."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()
        self._task: asyncio.Task[None] | None = None

    def join(self, viewer: Viewer) -> Watcher:
        """Begin to watch. Raises `Full`."""
        if len(self._watchers) >= WATCHERS_MAX:
            raise Full
        watcher = Watcher(viewer)
        self._watchers.add(watcher)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Watch no more; the last one out ends the reading."""
        self._watchers.discard(watcher)
        if not self._watchers and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                # By what they see: all operators share one answer.
                viewers = {watcher.viewer.sees: watcher.viewer for watcher in self._watchers}
                answers = await sync_to_async(_read, thread_sensitive=False)(viewers.values())
                for watcher in self._watchers:
                    if (text := answers.get(watcher.viewer.sees)) is not None:
                        watcher.hand(text)
            except Error as error:
                logger.warning("usage cannot be read just now: %s", error)
            except Exception:
                # A bug must not leave those who watch with a picture that never moves again.
                logger.exception("reading usage failed")
            took = time.monotonic() - began
            await asyncio.sleep(max(EVERY_S - took, REST_FACTOR * took - LEISURE_S))


reader = Reader()
_polled = recent.Recent(float("-inf"))


def polled(viewer: Viewer) -> bytes:
    """Return the answer for somebody who polls; those who poll at once share one reading."""
    global _polled
    if time.time() - _polled.at_s > POLLED_AGE_S:
        _polled = recent.read()
    return orjson.dumps(answer(viewer, _polled))


def _read(viewers: Iterable[Viewer]) -> dict[Any, bytes]:
    try:
        newest = recent.read()
        return {viewer.sees: orjson.dumps(answer(viewer, newest)) for viewer in viewers}
    finally:
        connections.close_all()  # The thread may not be asked again for long.
