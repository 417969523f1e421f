"""HTTP/1.1 as uvicorn speaks it, with the bounds on a request's head that uvicorn does not have.

Without them a client could send headers for ever, or none, and hold memory or a connection. A body
is not our business: the gateway bounds it.
"""

import asyncio
import uuid

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Claude Code sends about 2 KB; common servers allow 8 to 64 KB.
HEAD_BYTES_MAX = 64 * 1024
HEAD_LINES_MAX = 256
# From the connection, or the first byte of a later request, to the end of the head.
HEAD_SECONDS_MAX = 30.0


class HeadTooLarge(Exception):
    """The request line and headers are over HEAD_BYTES_MAX or HEAD_LINES_MAX."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with bounded heads: 431 for a large one, the end for a slow one."""

    # `_head_open`: the parser is inside a head. `_head_fed`: bytes it was fed there and keeps.
    _head_open = False
    _head_fed = 0
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # The parser keeps an unfinished header line to itself, so it is counted from outside.
        self._head_fed = self._head_fed + len(data) if self._head_open else 0
        if self._head_fed > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_open = True
        self._head_fed = self._head_bytes = 0
        self._start_head_timer()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_open = False
        self._stop_head_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        if self._head_bytes > HEAD_BYTES_MAX or len(self.headers or ()) >= HEAD_LINES_MAX:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX or len(self.headers) >= HEAD_LINES_MAX:
            raise HeadTooLarge  # The parser stops, and uvicorn calls send_400_response.

    def _refuse_head(self) -> None:
        request_id = f"req_{uuid.uuid4().hex}"
        message = (
            f"The headers of this request are over {HEAD_BYTES_MAX} bytes"
            f" or {HEAD_LINES_MAX} lines."
        )
        error = {"type": "invalid_request_error", "message": message}
        content = orjson.dumps({"type": "error", "error": error, "request_id": request_id})
        head = (
            "HTTP/1.1 431 Request Header Fields Too Large\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
            f"request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + content)
        self.transport.close()

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS_MAX, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
