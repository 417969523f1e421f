"""The load: keep-alive connections, each asking again as soon as it is answered.

Everything is bounded: the connections, the seconds, and the wait for the last answers.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bench.http1 import AnswerReader
from bench.requests import NextRequest

HOST = "127.0.0.1"
# A gateway that takes longer for one answer than this is not being measured but waited for.
LAST_ANSWERS_SECONDS_MAX = 15.0
EXAMPLE_BYTES = 300


@dataclass(slots=True)
class Sampled:
    """What the connections saw: seconds to the first byte and to the end of each answer."""

    seconds: float = 0.0
    asked: int = 0
    first_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)
    failures: int = 0
    example: str = ""

    @property
    def count(self) -> int:
        """Exchanges that were answered with a whole 200."""
        return len(self.whole_s)

    @property
    def per_second(self) -> float:
        """Exchanges a second."""
        return self.count / self.seconds if self.seconds else 0.0

    def fail(self, seen: bytes) -> None:
        """Count an exchange that failed, and keep the first for show."""
        self.failures += 1
        self.example = self.example or " ".join(seen[-EXAMPLE_BYTES:].decode("latin-1").split())


@dataclass(frozen=True, slots=True)
class _Errand:
    """What all connections of a run share: what to ask, how long, and where to note it."""

    next_request: NextRequest
    until: float
    sampled: Sampled
    exchanges_max: int | None = None

    def over(self, now: float) -> bool:
        asked_all = self.exchanges_max is not None and self.sampled.asked >= self.exchanges_max
        return asked_all or now >= self.until


class Lane(asyncio.Protocol):
    """One connection and the exchange on it."""

    def __init__(self) -> None:
        self.open = False
        self._sampled = Sampled()
        self._idle: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self.open = True

    def connection_lost(self, _error: Exception | None) -> None:
        self.open = False
        if self._idle is not None and not self._idle.done():
            self._sampled.fail(b"the connection was lost; " + self._reader.seen)
            self._idle.set_result(None)

    @property
    def answering(self) -> bool:
        """Whether the first byte of the answer has come."""
        return bool(self._first)

    def ask(self, errand: "_Errand") -> "asyncio.Future[None]":
        """Ask again and again until the errand is over; the future ends with the last answer."""
        self._errand, self._sampled = errand, errand.sampled
        self._idle = asyncio.get_running_loop().create_future()
        if errand.over(time.perf_counter()):
            self._idle.set_result(None)
        else:
            self._send()
        return self._idle

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self._first:
            self._first = now
        if not self._reader.feed(data):
            return
        if self._reader.status == 200:
            self._sampled.first_s.append(self._first - self._began)
            self._sampled.whole_s.append(now - self._began)
        else:
            self._sampled.fail(self._reader.seen)
        if not self._errand.over(now):
            self._send()
        elif self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def close(self) -> None:
        """Hang up."""
        self._idle = None
        self._transport.close()

    def _send(self) -> None:
        self._reader, self._first = AnswerReader(), 0.0
        self._sampled.asked += 1
        parts = self._errand.next_request()
        self._began = time.perf_counter()
        self._transport.writelines(parts)


class Lanes:
    """Connections to one port."""

    def __init__(self, port: int, lanes: list[Lane]) -> None:
        self._port = port
        self._lanes = lanes

    async def run(
        self, next_request: NextRequest, seconds: float, exchanges_max: int | None = None
    ) -> Sampled:
        """Load every connection for `seconds`, or with `exchanges_max` exchanges in all.

        The last answers may take a little longer.
        """
        await self._reopen()
        sampled, began = Sampled(), time.perf_counter()
        errand = _Errand(next_request, began + seconds, sampled, exchanges_max)
        waits = [lane.ask(errand) for lane in self._lanes]
        _, late = await asyncio.wait(waits, timeout=seconds + LAST_ANSWERS_SECONDS_MAX)
        sampled.seconds = time.perf_counter() - began
        for _ in late:
            sampled.fail(b"no answer in time")
        return sampled

    async def start(self, next_request: NextRequest, *, at_once: int) -> None:
        """Ask once on every connection, and wait until each answer has begun."""
        errand = _Errand(next_request, math.inf, Sampled())
        for first in range(0, len(self._lanes), at_once):
            group = self._lanes[first : first + at_once]
            for lane in group:
                lane.ask(errand)
            while not all(lane.answering for lane in group):
                await asyncio.sleep(0.01)

    def close(self) -> None:
        """Hang up everywhere."""
        for lane in self._lanes:
            lane.close()

    async def _reopen(self) -> None:
        for place, lane in enumerate(self._lanes):
            if not lane.open:
                self._lanes[place] = await _connect(self._port)


@asynccontextmanager
async def connected(port: int, connections: int) -> AsyncIterator[Lanes]:
    """Have `connections` open connections for as long as the block runs."""
    lanes = Lanes(port, [await _connect(port) for _ in range(connections)])
    try:
        yield lanes
    finally:
        lanes.close()


async def _connect(port: int) -> Lane:
    _, lane = await asyncio.get_running_loop().create_connection(Lane, HOST, port)
    return lane
