"""The client's side of one exchange over ASGI: reads its body, writes to it, hears it hang up.

One task per listening exchange waits for the hang-up; sleeping costs a timer, not a task, so
that thousands of paced streams stay cheap.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from simulator.errors import Refused

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Where our server class leaves the connection, so that it can be cut.
TRANSPORT = "simulator.transport"
GZIP_WINDOW_BITS = 31


class Client:
    """One client in one exchange. `gone` is true once it has hung up, if anybody listened."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.gone = False
        self.started = False
        self._scope = scope
        self._receive = receive
        self._send = send
        self._listener: asyncio.Task[None] | None = None
        self._sleeper: asyncio.Future[None] | None = None
        self._gzip: Any = None

    async def read(self, bytes_max: int) -> bytes | None:
        """Return the body, or `None` if the client hung up first."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > bytes_max:
                raise Refused(413)
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def listen(self) -> None:
        """Notice a hang-up from now on. The body must have been read."""
        if self._listener is None:
            self._listener = asyncio.ensure_future(self._wait_for_hang_up())

    async def sleep(self, seconds: float) -> bool:
        """Sleep unless the client hangs up; return whether it is still there."""
        self.listen()
        if seconds > 0 and not self.gone:
            loop = asyncio.get_running_loop()
            self._sleeper = loop.create_future()
            timer = loop.call_later(seconds, self._wake)
            try:
                await self._sleeper
            finally:
                timer.cancel()
        return not self.gone

    async def start(
        self, status: int, headers: list[tuple[bytes, bytes]], *, gzip: bool = False
    ) -> None:
        """Send status and headers. With `gzip`, what is written is compressed."""
        if gzip:
            headers = [*headers, (b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]
            self._gzip = zlib.compressobj(wbits=GZIP_WINDOW_BITS)
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send part of the body; waits while the client reads more slowly than we write."""
        if self._gzip is not None:
            mode = zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH
            data = self._gzip.compress(data) + self._gzip.flush(mode)
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def cut(self) -> None:
        """Close the connection in the middle of whatever was being sent.

        Under a server that hides its connection, an answer that never ends has the same effect.
        """
        transport = self._scope.get(TRANSPORT)
        if transport is not None:
            self.listen()
            transport.close()
            if self._listener is not None:
                await self._listener

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.cancel()

    async def _wait_for_hang_up(self) -> None:
        while not self.gone:
            message = await self._receive()
            self.gone = message["type"] == "http.disconnect"
        self._wake()

    def _wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)
