"""HTTP/1.1 as uvicorn speaks it, with the bounds and the strictness that uvicorn does not have.

Without the bounds a client could send headers for ever, or none, and hold memory or a connection. A
body is not our business: the gateway bounds it.

Rules. A request that is no HTTP is answered once, in its turn: after what was asked before it on
the same connection, and not at all once its own answer has begun. Then the connection closes, and
nothing that comes after it is read. Trailers are dropped. An upgrade that nobody here speaks is
ignored, body and all (RFC 9110, 7.8). When a connection ends, every request on it hears of it. When
the server stops, a proxy's connection goes on until an answer has said that it is the last
(claudcode/stopping.py).
"""

import asyncio
import uuid
from typing import Any

import httptools
import orjson
from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from claudcode.stopping import LINGER_S, is_proxy

# Claude Code sends about 2 KB; common servers allow 8 to 64 KB.
HEAD_BYTES_MAX = 64 * 1024
HEAD_LINES_MAX = 256
# From the connection, or the first byte of a later request, to the end of the head.
HEAD_SECONDS_MAX = 30.0
# Requests that wait behind the one being answered. Hardly any client sends two at once, and one
# read of the socket could hold thousands.
PIPELINED_MAX = 256
# Who may ask for a WebSocket, and how; whatever else names one is answered as if it had not.
SOCKETS = ((b"/usage/live", b"GET"),)

_MALFORMED = "400 Bad Request", "This is not a valid HTTP/1.1 request."
_TOO_LARGE = (
    "431 Request Header Fields Too Large",
    f"The headers of this request are over {HEAD_BYTES_MAX} bytes or {HEAD_LINES_MAX} lines.",
)


class HeadTooLarge(Exception):
    """The request line and headers are over HEAD_BYTES_MAX or HEAD_LINES_MAX."""


class Unacceptable(Exception):
    """llhttp would take this request; we do not."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounded heads and orderly refusals."""

    # The parser is inside a head; how large that is, its unfinished line apart; how much the parser
    # has read since a body or a request's end: a line, chunk extension or trailer without an end.
    _head_open = False
    _head_bytes = 0
    _silent_bytes = 0
    _spoke = False
    _head_timer: asyncio.TimerHandle | None = None
    # The request whose body is being read, and the one that is being answered.
    _read: RequestResponseCycle | None = None
    _answered: RequestResponseCycle | None = None
    # What a faulty request will be answered when its turn comes; empty to answer nothing.
    _refusal: bytes | None = None
    # The server stops: the next answer that begins is the last. Until then the connection is kept.
    _stopping = False
    _linger_timer: asyncio.TimerHandle | None = None

    def shutdown(self) -> None:
        if self.client is None or not is_proxy(self.client[0], tuple(settings.TRUSTED_PROXIES)):
            super().shutdown()
            return
        self._stopping = True
        self._make_last(self.cycle)
        if self._idle:
            self._start_linger_timer()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_linger_timer()
        # After a reset uvicorn would keep the request in memory for as long as a quiet connection.
        self._unset_keepalive_if_required()
        # uvicorn tells the latest request alone.
        self.pipeline.clear()
        if self._answered is not None:
            _disconnect(self._answered)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while data and self._refusal is None and self.parser is not None:
            data = self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        """Have `data` parsed; return what is to be parsed next instead of what is left of it."""
        self._spoke = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
                return b""
            return self._head_without_upgrade() + data[upgrade.args[0] :]
        except httptools.HttpParserError:
            large = self._head_bytes > HEAD_BYTES_MAX or len(self.headers or ()) >= HEAD_LINES_MAX
            self._refuse(*(_TOO_LARGE if large else _MALFORMED))
            return b""
        # Where in `data` something began is not known, so what came with it is not counted.
        self._silent_bytes = 0 if self._spoke else self._silent_bytes + len(data)
        if self._silent_bytes > HEAD_BYTES_MAX:
            self._refuse(*_TOO_LARGE)
        elif self._silent_bytes and self._idle:
            self._start_head_timer()  # Blank lines must not keep a connection for ever.
        return b""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_open = True
        self._head_bytes = 0
        self._start_head_timer()
        self._stop_linger_timer()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if not self._head_open:
            return  # A trailer: it would become a header of a request that is under way.
        if name.lower() == b"transfer-encoding" and value.lower() != b"chunked":
            raise Unacceptable("nobody here would undo another coding")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_open = False
        self._stop_head_timer()
        if self.parser.get_http_version() not in ("1.1", "1.0"):
            raise Unacceptable("another protocol under the same name")
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise Unacceptable("this is no proxy")
            if not self._should_upgrade():
                return  # The head comes again.
        super().on_headers_complete()
        self._read = self.cycle
        if self._stopping:
            self._make_last(self.cycle)
        if len(self.pipeline) > PIPELINED_MAX:
            raise Unacceptable("too many requests at once")

    def on_body(self, body: bytes) -> None:
        self._spoke = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._spoke = True
        if self._read is not None:
            super().on_message_complete()
            self._read = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._refusal is not None and self._idle:
            self._end()
        elif self._stopping and self._idle:
            self._start_linger_timer()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _should_upgrade(self) -> bool:
        asked = self.url.partition(b"?")[0], self.parser.get_method()
        return asked in SOCKETS and super()._should_upgrade()

    @property
    def _idle(self) -> bool:
        """Whether no request is being read or answered."""
        answered = self._answered is None or self._answered.response_complete
        return answered and self._read is None and not self._head_open

    def _head_without_upgrade(self) -> bytes:
        # llhttp takes whatever follows such a head for another protocol, a body too, and cannot be
        # told otherwise.
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % pair for pair in self.headers if pair[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return b"\r\n".join([*lines, b"", b""])

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX or len(self.headers) >= HEAD_LINES_MAX:
            raise HeadTooLarge

    def _refuse(self, status: str, message: str) -> None:
        """Answer the request that is being read in its turn, then close."""
        self._stop_head_timer()
        self._head_open = False
        self._refusal = _answer(status, message)
        faulty, self._read = self._read, None
        if faulty is not None and faulty is self._answered:
            if faulty.response_started:
                self._refusal = b""
            _disconnect(faulty)
            self._end()
            return
        if faulty is not None:
            self.pipeline.popleft()  # It is the latest of those that wait.
        if self._idle:
            self._end()

    def _end(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self._refusal or b"")
            self.transport.close()

    def _make_last(self, cycle: RequestResponseCycle | None) -> None:
        """Have an answer that has not begun say that the connection ends with it."""
        if cycle is not None and not cycle.response_started:
            cycle.keep_alive = False

    def _start_linger_timer(self) -> None:
        if self._linger_timer is None:
            self._linger_timer = self.loop.call_later(LINGER_S, self.transport.close)

    def _stop_linger_timer(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS_MAX, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _disconnect(cycle: RequestResponseCycle) -> None:
    if not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()


def _answer(status: str, message: str) -> bytes:
    request_id = f"req_{uuid.uuid4().hex}"
    error = {"type": "invalid_request_error", "message": message}
    content = orjson.dumps({"type": "error", "error": error, "request_id": request_id})
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\nrequest-id: {request_id}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + content
