"""Tool sessions: while one of a key is open, its requests get the gateway's web tools.

A program opens a session, renews it well within `TTL_S`, and closes it; one that was killed is
forgotten by then. Sessions live in Valkey, at most `SESSIONS_MAX` of a key, under one hash tag.

Every gateway process knows which keys have a session without asking: each change is announced as
the milliseconds that the key has left, and kept in the process until they are over. When the
channel is joined, whatever was announced before is read once. While it is lost, what is known
stays until its end: a key may have its tools for `TTL_S` longer than it should, never for ever.

The key that holds the sessions of one API key carries a TTL, so Valkey may evict it when memory is
short: the sessions are held again when they are renewed, and no process forgets them meanwhile.
"""

import asyncio
import logging
import secrets
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from redis import RedisError

from keys.valkey import AsyncValkey, async_now_ms
from proxy.listening import end, listen_forever

logger = logging.getLogger(__name__)

LUA = Path(__file__).parent / "lua"
CHANNEL = "claudcode:tool-sessions"
OPEN = "{tools}:open"
ID_MARK = "ts_"
ID_BYTES = 16
# Long enough to miss two renewals, short enough that a killed program is soon forgotten.
TTL_S = 120
# One for each program that runs at a time; those of programs that crashed count until they end.
SESSIONS_MAX = 64
# How soon the sessions of all keys are read again after Valkey did not answer.
READ_AGAIN_S = 1.0
# How long an announcement is waited for; without one the session is known when it is read again.
HEARD_S_MAX = 1.0
HEARD_LOOK_S = 0.005
# Valkey tells all processes at once; so long is left to those that are a little behind this one.
OTHERS_HEAR_S = 0.05


class ToolSessions:
    """Opens, renews and closes the sessions of keys; the store decides, all processes hear of it.

    Each method raises redis-py's `RedisError` when Valkey does not answer.
    """

    def __init__(self, valkey: AsyncValkey, ttl_s: float = TTL_S) -> None:
        self._valkey = valkey
        self._ttl_ms = round(ttl_s * 1000)

    @property
    def ttl_s(self) -> float:
        """How long a session lasts that is not renewed."""
        return self._ttl_ms / 1000

    async def open(self, apikey_id: int) -> str:
        """Open a session of this key; return its id."""
        session_id = ID_MARK + secrets.token_hex(ID_BYTES)
        await self.renew(apikey_id, session_id)
        return session_id

    async def renew(self, apikey_id: int, session_id: str) -> None:
        """Let the session last its whole time again; opens it if it was forgotten."""
        await self._change("hold", apikey_id, session_id)

    async def close(self, apikey_id: int, session_id: str) -> None:
        """End the session; harmless if it has ended. Others of the key stay."""
        await self._change("drop", apikey_id, session_id)

    async def _change(self, change: str, apikey_id: int, session_id: str) -> None:
        script = self._valkey.register_script(_source("session"))
        await script(
            keys=[OPEN, f"{{tools}}:k{apikey_id}"],
            args=[change, apikey_id, session_id, self._ttl_ms, SESSIONS_MAX, CHANNEL],
        )


class OpenSessions:
    """Which keys have a session, as this process knows it. `is_open` asks nobody."""

    def __init__(self, valkey: AsyncValkey) -> None:
        self._valkey = valkey
        # The end of each key's last session, by this process's clock. What is renewed moves to the
        # back, so what has ended gathers at the front.
        self._ends: dict[int, float] = {}
        # What is announced while the sessions of all keys are read: it is newer than what is read.
        self._newer: dict[int, float] = {}
        self._reading: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.linked = False  # Whether every session so far is known.

    def start(self) -> None:
        """Begin to listen."""
        listening = listen_forever(self._valkey, CHANNEL, heard=self._heard, lost=self._lost)
        self._tasks.add(asyncio.create_task(listening))

    async def stop(self) -> None:
        """Stop listening."""
        await end(self._tasks | ({self._reading} if self._reading is not None else set()))

    def is_open(self, apikey_id: int) -> bool:
        """Return whether this key has a session."""
        return self._ends.get(apikey_id, 0.0) > time.monotonic()

    async def spread(self, apikey_id: int) -> None:
        """Wait until this process has heard of the key's session, and the others may have.

        The next request of a program that opened one may meet any of them. Returns after
        `HEARD_S_MAX` in any case.
        """
        deadline = time.monotonic() + HEARD_S_MAX
        while not self.is_open(apikey_id) and time.monotonic() < deadline:
            await asyncio.sleep(HEARD_LOOK_S)
        await asyncio.sleep(OTHERS_HEAR_S)

    def _heard(self, message: bytes | None) -> None:
        if message is None:
            self._begin_reading()
            return
        apikey_id, left_ms = (int(part) for part in message.split())
        until = time.monotonic() + left_ms / 1000
        self._ends.pop(apikey_id, None)
        self._ends[apikey_id] = until
        if not self.linked:
            self._newer[apikey_id] = until
        self._drop_ended()

    def _lost(self) -> None:
        self.linked = False

    def _begin_reading(self) -> None:
        self.linked, self._newer = False, {}
        if self._reading is not None:
            self._reading.cancel()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            try:
                ends = await self._read_once()
                break
            except (RedisError, OSError, TimeoutError) as error:
                logger.warning("the open tool sessions could not be read: %s", error)
                await asyncio.sleep(READ_AGAIN_S)
        self._ends = dict(sorted((ends | self._newer).items(), key=lambda pair: pair[1]))
        self.linked, self._newer = True, {}

    async def _read_once(self) -> dict[int, float]:
        found: Any = await self._valkey.zrange(OPEN, 0, -1, withscores=True)
        now_ms, now = await async_now_ms(self._valkey, OPEN), time.monotonic()
        return {int(apikey_id): now + (end_ms - now_ms) / 1000 for apikey_id, end_ms in found}

    def _drop_ended(self) -> None:
        now = time.monotonic()
        while self._ends:
            first = next(iter(self._ends))
            if self._ends[first] > now:
                break
            del self._ends[first]


@lru_cache(maxsize=4)
def _source(name: str) -> str:
    return (LUA / f"{name}.lua").read_text()
