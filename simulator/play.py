"""Sends an answer the way its script says: paced, cut, stalled, failed, or in one burst.

The books know after each write how far it got: a client that hangs up was sent that much.
"""

import asyncio
from collections.abc import Iterable

from simulator.books import Entry
from simulator.client import Client
from simulator.frames import Frame, error_frame
from simulator.marks import Script

# Beyond this a burst is written in parts, so that slow readers do not fill our memory.
WRITE_BYTES_MAX = 256 * 1024


async def play(frames: Iterable[Frame], script: Script, client: Client, entry: Entry) -> str:
    """Send `frames`; return the outcome as the books name it."""
    if script.first_byte_s and not await client.sleep(script.first_byte_s):
        return "hung_up"
    return await _Player(script, client, entry).play(frames)


class _Player:
    """Frames wait here until the script pauses; without a pause they leave in one write."""

    def __init__(self, script: Script, client: Client, entry: Entry) -> None:
        self._script = script
        self._client = client
        self._entry = entry
        self._clock = asyncio.get_running_loop().time
        self._start = self._clock()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._events = 0
        self._tokens = 0

    async def play(self, frames: Iterable[Frame]) -> str:
        for frame, tokens in frames:
            if self._script.tokens_per_s and not await self._keep_pace(tokens):
                return "hung_up"
            self._waiting.append(frame)
            self._waiting_bytes += len(frame)
            self._events += 1
            self._tokens = tokens
            if self._events == self._script.stall_after and not await self._stall():
                return "hung_up"
            if self._events == self._script.error_after:
                return await self._fail()
            if self._events == self._script.cut_after:
                await self._flush()
                await self._client.cut()
                return "cut"
            if self._waiting_bytes > WRITE_BYTES_MAX:
                self._client.listen()
                if not await self._flush():
                    return "hung_up"
        return "finished" if await self._flush(last=True) else "hung_up"

    async def _keep_pace(self, tokens: int) -> bool:
        delay = self._start + tokens / self._script.tokens_per_s - self._clock()
        if delay <= 0:
            return True
        if self._waiting and not await self._flush():
            return False
        return await self._client.sleep(delay)

    async def _stall(self) -> bool:
        # What follows keeps its pace from the end of the stall on.
        self._start += self._script.stall_s
        return await self._flush() and await self._client.sleep(self._script.stall_s)

    async def _fail(self) -> str:
        self._waiting.append(error_frame(self._script.error_type, self._script.error_message))
        await self._flush(last=True)
        return "error"

    async def _flush(self, *, last: bool = False) -> bool:
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._entry.events, self._entry.output_tokens = self._events, self._tokens
        if self._script.write_bytes:
            data = await self._split(data, self._script.write_bytes)
        await self._client.write(data, last=last)
        return not self._client.gone

    async def _split(self, data: bytes, write_bytes: int) -> bytes:
        while len(data) > write_bytes and not self._client.gone:
            await self._client.write(data[:write_bytes])
            data = data[write_bytes:]
            # Writes of one turn of the event loop leave as one.
            await asyncio.sleep(0)
        return data
