"""Passes upstream's answer on as it comes, and notices when either side leaves.

Knows an exchange, a call and an answer; decides nothing about money. Every outcome is a value.

One task reads upstream and writes to the client, so a slow client slows the reading down: memory
per stream is bounded by two socket buffers and one event. The client's hang-up arrives on another
task (`Call.watch`) and ends the waiting here by moving its deadline to now.
"""

import asyncio
import contextlib
import enum
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from keys.core.access import Hangup
from proxy.call import Call
from proxy.core.errors import error_event
from proxy.core.headers import Headers, downstream_headers
from proxy.core.meter import AnswerMeter, StreamMeter
from proxy.core.sse import PING, Framer
from proxy.exchange import Exchange
from proxy.flights import Flight
from proxy.upstream import UpstreamBroken

logger = logging.getLogger(__name__)


# A client that does not read may hold up itself for as long as it likes, but not those who wait for
# the same answer.
STALL_SECONDS_MAX = 10.0
# A client that does not read cannot be told why its stream ends.
LAST_WORD_SECONDS_MAX = 2.0


class Ending(enum.Enum):
    """How the relaying of a 200 ended."""

    WHOLE = "whole"
    HUNG_UP = "hung_up"
    BROKEN = "broken"  # upstream stopped in the middle


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take, in seconds."""

    exchange_s: float
    ping_after_s: float
    drain_s: float


class HungUp(Exception):
    """The client left, and the key does not ask to drain."""


class TookTooLong(Exception):
    """The exchange reached its time limit."""


class Source(Protocol):
    """Where an answer is read from: upstream itself, or the flight of an identical request."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def length(self) -> int | None: ...
    def header(self, name: bytes) -> bytes: ...
    async def piece(self) -> bytes: ...
    def finish(self) -> None: ...


class Deadline:
    """The end of an exchange's time, which a hang-up brings forward, unless others wait for the
    same answer.

    Use as `async with deadline:` round every wait on upstream or on the client. Raises `HungUp` or
    `TookTooLong` out of it.
    """

    def __init__(self, call: Call, hangup: Hangup, patience: Patience) -> None:
        self._call = call
        self._drain_s = patience.drain_s if hangup is Hangup.DRAIN else 0.0
        self._timeout = asyncio.timeout(patience.exchange_s)
        self._flight: Flight | None = None

    async def __aenter__(self) -> "Deadline":
        await self._timeout.__aenter__()
        self._call.watch(self._on_hangup)
        return self

    def carry(self, flight: Flight) -> None:
        """Let no hang-up end the exchange while `flight` is followed."""
        self._flight = flight
        flight.on_deserted = self._on_deserted

    async def __aexit__(self, kind, error, trace) -> None:  # type: ignore[no-untyped-def]
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise (HungUp if self._call.hung_up else TookTooLong) from None

    def _on_deserted(self) -> None:
        if self._call.hung_up:
            self._on_hangup()

    def _on_hangup(self) -> None:
        followed = self._flight is not None and self._flight.followed
        if not followed and not self._timeout.expired():
            now = asyncio.get_running_loop().time()
            when = self._timeout.when()
            self._timeout.reschedule(min(now + self._drain_s, when if when is not None else now))


async def relay(
    call: Call,
    exchange: Exchange,
    answer: Source,
    ping_after_s: float,
    before_last: Callable[[], None],
    flight: Flight | None = None,
) -> Ending:
    """Send the answer, a 200, to the client and a copy to the `flight`; call `before_last`
    (perhaps more than once) when its last bytes are about to be sent.

    Returns `WHOLE` or `BROKEN`; leaving early is the deadline's to raise.
    """
    kind = answer.header(b"content-type").partition(b";")[0]
    streamed = kind.strip().lower() == b"text/event-stream"
    exchange.meter = StreamMeter() if streamed else AnswerMeter(answer.length)
    call.streaming = streamed
    headers = downstream_headers(answer.headers)
    if streamed:
        # Pings and errors of ours would not fit into a length that upstream told.
        headers = [(name, value) for name, value in headers if name != b"content-length"]
    await call.start(answer.status, headers)
    if not streamed:
        return await _relay_answer(call, exchange, answer, before_last, flight)
    with Pinger(call, ping_after_s) as pinger:
        return await _relay_stream(call, exchange, answer, pinger, before_last, flight)


async def end_stream(call: Call, message: str) -> None:
    """End a stream that has begun with an error event; another kind of answer is just cut off."""
    if call.streaming and not call.hung_up:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD_SECONDS_MAX):
                event = error_event("api_error", message, call.request_id)
                await call.write(event, more=False)


async def _relay_answer(
    call: Call,
    exchange: Exchange,
    answer: Source,
    before_last: Callable[[], None],
    flight: Flight | None,
) -> Ending:
    meter = exchange.meter
    assert isinstance(meter, AnswerMeter)
    try:
        while chunk := await answer.piece():
            exchange.note_first_byte()
            meter.feed(chunk)
            if flight is not None:
                flight.feed(chunk)
            if meter.whole:
                before_last()
            if not call.hung_up:
                await _write(call, chunk, flight)
    except UpstreamBroken as error:
        _log_broken(call, error)
        return Ending.BROKEN
    meter.end()
    before_last()
    if not call.hung_up:
        await call.write(b"", more=False)
    return Ending.WHOLE


async def _relay_stream(
    call: Call,
    exchange: Exchange,
    answer: Source,
    pinger: "Pinger",
    before_last: Callable[[], None],
    flight: Flight | None,
) -> Ending:
    meter, framer = exchange.meter, Framer()
    assert isinstance(meter, StreamMeter)
    try:
        while chunk := await answer.piece():
            events = framer.feed(chunk)
            if not events:
                continue
            exchange.note_first_byte()
            meter.feed(events)
            if flight is not None:
                flight.feed(events)
            if meter.whole:
                before_last()
            pinger.note(framer.framed)
            if not call.hung_up:
                await _write(call, events, flight)
    except UpstreamBroken as error:
        _log_broken(call, error)
    whole = meter.whole or bool(meter.error_type)
    if not call.hung_up:
        last = framer.rest
        if not whole:
            last = error_event("api_error", "The upstream broke off its answer.", call.request_id)
        before_last()
        await call.write(last, more=False)
    return Ending.WHOLE if meter.whole else Ending.BROKEN


async def _write(call: Call, piece: bytes, flight: Flight | None) -> None:
    if flight is None:
        await call.write(piece, more=True)
        return
    flight.writing_since = time.monotonic()
    try:
        if flight.followed:
            async with asyncio.timeout(STALL_SECONDS_MAX):
                await call.write(piece, more=True)
        else:
            await call.write(piece, more=True)
    except TimeoutError:
        call.hung_up = True
    flight.writing_since = 0.0


def _log_broken(call: Call, error: Exception) -> None:
    logger.warning("upstream broke off: %s", error, extra=call.log_fields)
    # The answer keeps the error, whose frames keep the answer: a circle.
    error.__traceback__ = None


class Pinger:
    """Sends a `ping` of ours when a stream has been silent for a while.

    The relay is then waiting for upstream, so what was sent ends at an event boundary.
    """

    def __init__(self, call: Call, after_s: float) -> None:
        self._call = call
        self._after_s = after_s
        self._loop = asyncio.get_running_loop()
        self._silent_since = self._loop.time()
        self._framed = True
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> "Pinger":
        self._timer = self._loop.call_later(self._after_s, self._look)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def note(self, framed: bool) -> None:
        """Something is about to be sent."""
        self._silent_since = self._loop.time()
        self._framed = framed

    def _look(self) -> None:
        now = self._loop.time()
        due = self._silent_since + self._after_s
        if now >= due:
            due = now + self._after_s
            self._silent_since = now
            # A client that does not read its last ping gets no further one to pile up.
            if self._framed and not self._call.hung_up and (not self._task or self._task.done()):
                self._task = self._loop.create_task(self._call.write(PING, more=True))
        self._timer = self._loop.call_later(due - now, self._look)
