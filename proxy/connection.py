"""One connection upstream, and the answer that is coming over it. Knows HTTP/1.1, not which
connection is used for what; opens no sockets.

A connection carries one exchange at a time: `begin()` writes a request and gives an `Answer`,
`Answer.finish()` ends the exchange. Between exchanges it is idle. It is used again only when
the answer was read to its end, the request was written to its end, both sides want to keep the
connection, and nothing came that was not asked for; everything else cuts it off.

What arrives is parsed at once (llhttp, by httptools) and kept until `piece()` asks for it. A reader
that does not ask makes the connection pause, so one answer pins down `READ_BYTES_MAX` and one read
of the event loop.

There is one timer to a connection, whatever happens on it: it looks from time to time how long
nothing came, and is set again for the moment at which that would be too long.
"""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from proxy.core.headers import Headers

# Longer than a developer thinks between two calls, shorter than Anthropic's edge keeps a
# connection, so that a POST is not sent into one that is just being closed.
KEEP_ALIVE_S = 20.0
# The memory one slow client can pin down, apart from the last read (256 KB under uvloop).
READ_BYTES_MAX = 128 * 1024
# Under TLS all that is given to the transport is encrypted at once, and doubles a large body in
# memory; so it gets that much, and more when it asks.
TLS_WRITE_BYTES = 256 * 1024
# Bytes that bring neither a body nor an end: heads, trailers, chunk extensions. Anthropic's heads
# have 2 KB.
OVERHEAD_BYTES_MAX = 64 * 1024


class UpstreamUnreachable(Exception):
    """No answer came: no connection, a broken one, nonsense, or silence for too long.

    Unless `sent`, upstream has seen nothing of the request, and it may be made again elsewhere.
    """

    def __init__(self, reason: str, *, sent: bool, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.sent = sent
        self.timed_out = timed_out


class UpstreamBroken(Exception):
    """An answer that had begun broke off, made no sense, or fell silent for too long."""


class _Nonsense(Exception):
    """What upstream sends is not an answer to what it was asked."""


class Answer:
    """What upstream answers: status and headers are here, the body comes in pieces.

    Header names are lower case. Whoever has an answer calls `finish()` on it, whatever happened.
    """

    __slots__ = (
        "_bodiless",
        "_complete",
        "_connection",
        "_failure",
        "_pieces",
        "_size",
        "_timed_out",
        "_waiter",
        "headers",
        "length",
        "status",
    )

    def __init__(self, connection: "Connection", bodiless: bool) -> None:
        self.status = 0  # until the head is there
        self.headers: Headers = []
        # Bytes of the body as told beforehand, `None` if they were not.
        self.length: int | None = None
        self._connection = connection
        self._bodiless = bodiless
        self._pieces: list[bytes] = []
        self._size = 0
        self._complete = False
        self._failure = ""
        self._timed_out = False
        self._waiter: asyncio.Future[None] | None = None

    def header(self, name: bytes) -> bytes:
        """Return the value of a header, empty if it is not there."""
        for found, value in self.headers:
            if found == name:
                return value
        return b""

    async def begun(self) -> None:
        """Wait for the head. Raises `UpstreamUnreachable`."""
        while not self.status:
            if self._failure:
                raise UpstreamUnreachable(self._failure, sent=True, timed_out=self._timed_out)
            await self._news()

    async def piece(self) -> bytes:
        """Return all that came since the last call, empty at the end. Raises `UpstreamBroken`."""
        while not self._pieces:
            if self._complete:
                return b""
            if self._failure:
                raise UpstreamBroken(self._failure)
            await self._news()
        pieces = self._pieces
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size = 0
        self._connection.read_on()
        return piece

    def finish(self) -> None:
        """Give the connection back if the body was read to its end, and cut it off if not."""
        self._connection.finish(self)

    async def _news(self) -> None:
        self._waiter = self._connection.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.Protocol):
    """A connection that is open. `ended` is called after each exchange, `lost` once, at the end."""

    def __init__(
        self,
        *,
        read_seconds_max: float,
        ended: Callable[["Connection"], None],
        lost: Callable[["Connection"], None],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._read_seconds_max = read_seconds_max
        self._look_every_s = min(KEEP_ALIVE_S, read_seconds_max)
        self._ended, self._lost = ended, lost
        self._answer: Answer | None = None
        self._keep = True
        self._paused = False
        self._until_close = False
        self._overhead = 0
        self._unwritten: memoryview | None = None
        self._unwritten_seen = 0
        self._full = False
        self._heard_at = self.loop.time()
        # It calls the `on_…` methods below.
        self._parser = httptools.HttpResponseParser(self)

    @property
    def usable(self) -> bool:
        """Whether an exchange may begin."""
        return self._keep and self._answer is None and not self._transport.is_closing()

    @property
    def idle_since(self) -> float:
        """The event loop's time of the last exchange's end."""
        return self._heard_at

    def begin(self, head: bytes, body: bytes, *, bodiless: bool) -> Answer:
        """Write a request; `bodiless` if its answer has no body, as after HEAD."""
        answer = self._answer = Answer(self, bodiless)
        self._heard_at = self.loop.time()
        if len(body) <= TLS_WRITE_BYTES or not self._tls:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head)
            self._unwritten = memoryview(body)
            self._write_on()
        return answer

    def finish(self, answer: Answer) -> None:
        """End the exchange of `answer`; harmless the second time."""
        if self._answer is not answer:
            return
        self._answer = None
        read = answer._complete and not answer._pieces
        if read and self._keep and not self._unwritten_bytes():
            self._heard_at = self.loop.time()
        else:
            self.cut()
        self._ended(self)

    def cut(self) -> None:
        """Close at once, whatever is under way."""
        self._keep = False
        self._unwritten = None
        self._transport.abort()

    def read_on(self) -> None:
        """What had arrived was taken."""
        if self._paused:
            self._paused = False
            self._heard_at = self.loop.time()
            if not self._transport.is_closing():
                self._transport.resume_reading()

    # --- Called by the transport ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._tls = transport.get_extra_info("ssl_object") is not None
        self._timer = self.loop.call_later(self._look_every_s, self._look)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:  # Idle: whatever this is, it answers nothing we asked.
            self.cut()
            return
        self._heard_at = self.loop.time()
        size = answer._size
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(str(error.__context__ or error))
        if answer._size != size or answer._complete:
            self._overhead = 0
        else:
            self._overhead += len(data)
            if self._overhead > OVERHEAD_BYTES_MAX:
                self._fail(f"more than {OVERHEAD_BYTES_MAX} bytes of headers")
        answer._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        if error is None and self._until_close and self._answer is not None:
            self._answer._complete = True
        self._fail(f"closed: {error!r}" if error is not None else "closed by upstream")
        if self._answer is not None:
            self._answer._wake()
        # Both know each other, and what is in a circle stays until garbage is collected.
        del self._parser
        self._lost(self)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._write_on()

    # --- Called by the parser -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._answer is None or self._answer._complete:
            raise _Nonsense("bytes after the end of an answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        answer = self._answer
        assert answer is not None
        if not answer.status:  # Later ones are trailers, which nobody needs.
            answer.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        answer = self._answer
        assert answer is not None
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            answer.headers.clear()  # The answer proper follows.
            return
        if status < 200 or self._parser.get_http_version() not in ("1.1", "1.0"):
            raise _Nonsense(f"HTTP/{self._parser.get_http_version()} {status}")
        chunked = False
        for name, value in answer.headers:
            if name == b"content-length":
                answer.length = int(value)
            elif name == b"transfer-encoding":
                # Of a coding below the chunks the client would not be told.
                if chunked or value.lower() != b"chunked":
                    raise _Nonsense("a transfer coding that is not understood")
                chunked = True
        self._keep = self._parser.should_keep_alive()
        self._until_close = answer.length is None and not chunked
        answer.status = status
        if answer._bodiless:
            # The parser waits for a body that will not come.
            answer._complete, self._keep = True, False

    def on_body(self, body: bytes) -> None:
        answer = self._answer
        assert answer is not None
        if answer._complete:
            raise _Nonsense("a body where none belongs")
        answer._pieces.append(body)
        answer._size += len(body)
        if answer._size > READ_BYTES_MAX and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._answer is not None and self._answer.status:
            self._answer._complete = True

    # --- Inside ---------------------------------------------------------------------------------

    def _fail(self, reason: str, *, timed_out: bool = False) -> None:
        answer = self._answer
        if answer is not None and not answer._complete and not answer._failure:
            answer._failure, answer._timed_out = reason, timed_out
        self.cut()

    def _write_on(self) -> None:
        while self._unwritten is not None and not self._full:
            piece, rest = self._unwritten[:TLS_WRITE_BYTES], self._unwritten[TLS_WRITE_BYTES:]
            self._unwritten = rest if rest.nbytes else None
            self._transport.write(piece)

    def _unwritten_bytes(self) -> int:
        waiting = 0 if self._unwritten is None else self._unwritten.nbytes
        return waiting + self._transport.get_write_buffer_size()

    def _look(self) -> None:
        now = self.loop.time()
        due = now + self._look_every_s
        answer = self._answer
        if answer is None:
            due = self._heard_at + KEEP_ALIVE_S
            if now >= due:
                self._transport.close()
                return
        elif not answer._complete and not self._paused:
            unwritten = self._unwritten_bytes()
            if unwritten != self._unwritten_seen:  # Upstream takes the request, if slowly.
                self._unwritten_seen, self._heard_at = unwritten, now
            due = self._heard_at + self._read_seconds_max
            if now >= due:
                self._fail(f"silent for {self._read_seconds_max:g} s", timed_out=True)
                answer._wake()
                return
        self._timer = self.loop.call_at(min(due, now + self._look_every_s), self._look)
