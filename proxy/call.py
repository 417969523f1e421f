"""One HTTP call as the data plane sees it: ASGI's three arguments with names, and one answer.

Knows ASGI and the headers every answer carries; nothing of keys, limits or upstreams.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from typing import Any

from keys.core.access import Address, KeyPolicy, Network
from keys.core.limits import Admitted, Denied
from proxy.core.errors import BodyTooLarge, BodyTooSlow, GatewayError, Unavailable, error_body
from proxy.core.forwarded import client_address, parse_address
from proxy.core.headers import Headers, limit_headers
from proxy.trace import Trace

logger = logging.getLogger(__name__)

# Enough for most clients to notice the answer to a body that is too large.
LINGER_SECONDS_MAX = 2.0
LINGER_BYTES_MAX = 8 * 1024 * 1024

JSON = (b"content-type", b"application/json")


class ClientGone(Exception):
    """The client hung up before its request was whole, or before it had its answer."""


class BodyStore:
    """How many bytes of request bodies this process holds, and how many it may."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held = 0


class Call:
    """A request, and the answer it gets exactly once.

    `policy` is set when the key is known, `verdict` when its limits were looked at, so that every
    later answer, errors included, carries the key's own limits. `request_id` begins with the
    time, so ids sort by age. `trace` is whoever follows the call, `None` if nobody does.
    """

    __slots__ = (
        "_on_hangup",
        "_receive",
        "_send",
        "_watcher",
        "extra_headers",
        "headers",
        "hung_up",
        "method",
        "path",
        "policy",
        "query",
        "raw_headers",
        "read_at",
        "request_id",
        "scope",
        "started",
        "status",
        "streaming",
        "trace",
        "verdict",
    )

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._watcher: asyncio.Task[None] | None = None
        self._on_hangup: Callable[[], None] | None = None
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.raw_headers: Headers = scope["headers"]
        self.headers = dict(reversed(self.raw_headers))
        self.request_id = "req_" + new_id()
        self.read_at = 0.0  # When its body was whole; 0 once that was counted.
        self.hung_up = False
        self.started = False
        self.status = 0
        self.streaming = False
        self.policy: KeyPolicy | None = None
        self.verdict: Admitted | Denied | None = None
        self.trace: Trace | None = None
        self.extra_headers: Headers = []

    @property
    def log_fields(self) -> dict[str, str]:
        """What lines about this call carry."""
        ids = {} if self.trace is None else self.trace.ids
        return {"request_id": self.request_id, **ids}

    def text(self, name: bytes, length_max: int = 200) -> str:
        """Return a header as text that is safe to store: bounded, without control characters."""
        raw = self.headers.get(name, b"")[:length_max].decode("latin-1")
        return raw if raw.isprintable() else "".join(c for c in raw if c.isprintable())

    def address(self, trusted: tuple[Network, ...]) -> Address | None:
        """Return the client's address; `X-Forwarded-For` counts only behind a trusted proxy."""
        peer = (self.scope.get("client") or ("",))[0]
        if not trusted:
            return parse_address(peer)
        hops = b",".join(v for n, v in self.raw_headers if n == b"x-forwarded-for")
        return client_address(peer, hops.decode("latin-1"), trusted)

    async def read_body(self, store: BodyStore, bytes_max: int, seconds_max: float) -> bytes:
        """Return the whole body.

        Raises `BodyTooLarge` without reading the rest, `BodyTooSlow`, `ClientGone`, or
        `Unavailable` when this process holds too many bodies. The caller gives the bytes back to
        `store` when it is done with them.
        """
        declared = self.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > bytes_max:
            raise BodyTooLarge(_too_large(bytes_max))
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(seconds_max):
                more = True
                while more:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    chunk = message.get("body", b"")
                    more = message.get("more_body", False)
                    size += len(chunk)
                    store.held += len(chunk)
                    chunks.append(chunk)
                    if size > bytes_max:
                        raise BodyTooLarge(_too_large(bytes_max))
                    if store.held > store.bytes_max:
                        raise Unavailable(
                            "The gateway holds too many large requests. Try again shortly.",
                            retry_after_s=1,
                        )
        except BaseException as error:
            store.held -= size
            if isinstance(error, TimeoutError):
                raise BodyTooSlow(
                    f"The request body did not arrive within {seconds_max:g} seconds."
                ) from None
            raise
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def watch(self, on_hangup: Callable[[], None]) -> None:
        """Call `on_hangup` once if the client leaves. The body must have been read."""
        self._on_hangup = on_hangup
        if self.hung_up:
            on_hangup()
        elif self._watcher is None:
            self._watcher = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Stop watching."""
        watcher = self._watcher
        # Both know this call. A circle would stay in memory until garbage is collected.
        self._watcher = self._on_hangup = None
        if watcher is not None:
            watcher.cancel()

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status and the headers, the ones of every answer among them."""
        self.started = True
        self.status = status
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    *headers,
                    (b"request-id", self.request_id.encode()),
                    *limit_headers(self.verdict),
                    *self.extra_headers,
                ],
            }
        )

    async def write(self, chunk: bytes, *, more: bool) -> None:
        """Send a piece of the body; waits while the client reads too slowly."""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})

    async def answer(self, status: int, body: bytes, headers: Headers | None = None) -> None:
        """Send a whole JSON answer."""
        await self.start(status, [JSON, _length(body), *(headers or [])])
        await self.write(b"" if self.method == "HEAD" else body, more=False)

    async def refuse(self, error: GatewayError) -> None:
        """Send `error` as the answer."""
        body = error_body(error.wire_type, error.message, self.request_id)
        if not isinstance(error, BodyTooLarge):
            await self.answer(error.status, body, error.headers())
            return
        await self.start(error.status, [JSON, _length(body), *error.headers()])
        await self.write(body, more=True)
        await self._linger()
        await self.write(b"", more=False)

    async def _linger(self) -> None:
        """Throw away some of what the client still sends before the connection is closed.

        Closing over unread bytes makes the kernel send a reset, which can overtake the answer.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS_MAX):
                more, size = True, 0
                while more and size < LINGER_BYTES_MAX:
                    message = await self._receive()
                    more = message.get("more_body", False)
                    size += len(message.get("body", b""))

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.hung_up = True
        if self._on_hangup is not None:
            self._on_hangup()


def new_id() -> str:
    """Return 32 hexadecimal characters: milliseconds since 1970, then 80 random bits (UUIDv7)."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    # Version 7 and variant 2, so that any tool reads it as the UUID it is stored as.
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return f"{value:032x}"


def _length(body: bytes) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % len(body))


def _too_large(bytes_max: int) -> str:
    return f"The request body is larger than {bytes_max} bytes, the most this gateway takes."
