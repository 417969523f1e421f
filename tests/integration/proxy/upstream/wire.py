"""Upstreams written by hand: a test says what they do with each connection, byte by byte."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

from proxy.core.headers import Headers
from proxy.upstream import Answer, Upstream, UpstreamClient

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"content-length: 5\r\n\r\nhello"


class Wire:
    """One connection, seen from upstream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def request(self) -> bytes:
        """Return the next request, head and body; raises `IncompleteReadError` at the end."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return head + await self.reader.readexactly(int(length or 0))

    async def say(self, data: bytes) -> None:
        """Send, and wait until it is on its way."""
        self.writer.write(data)
        await self.writer.drain()

    async def closed(self) -> None:
        """Wait until the client has left, whatever it sends before."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


class Server:
    """Where an upstream listens, and what it saw."""

    def __init__(self) -> None:
        self.upstream = Upstream("", "", ())
        self.connections = 0
        self.open = 0
        self.requests: list[bytes] = []


Play = Callable[[Wire, Server], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(
    play: Play, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Server]:
    """Serve on a free port: `play` has each connection, which is closed when it returns."""
    server = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        server.connections += 1
        server.open += 1
        try:
            await play(Wire(reader, writer), server)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            server.open -= 1
            writer.close()

    listening = await asyncio.start_server(connected, host, 0, ssl=tls, backlog=2048)
    port = listening.sockets[0].getsockname()[1]
    scheme, name = ("https", "localhost") if tls else ("http", f"[{host}]" if ":" in host else host)
    server.upstream = Upstream("test", f"{scheme}://{name}:{port}", ())
    try:
        yield server
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def saying(*pieces: bytes, then_close: bool = False) -> Play:
    """Answer each request with these pieces."""

    async def play(wire: Wire, server: Server) -> None:
        while True:
            server.requests.append(await wire.request())
            for piece in pieces:
                await wire.say(piece)
                await asyncio.sleep(0)
            if then_close:
                return

    return play


async def ask(
    client: UpstreamClient,
    server: Server,
    body: bytes = b"{}",
    *,
    method: str = "POST",
    query: bytes = b"",
    headers: Headers | None = None,
) -> Answer:
    """Send a request to `/v1/messages`."""
    return await client.send(server.upstream, method, "/v1/messages", query, headers or [], body)


async def read(answer: Answer) -> bytes:
    """Return the whole body and give the connection back."""
    body = b""
    try:
        while piece := await answer.piece():
            body += piece
    finally:
        answer.finish()
    return body
