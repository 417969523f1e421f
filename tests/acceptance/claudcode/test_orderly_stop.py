"""What becomes of connections when the server stops: nothing that was sent is lost."""

import asyncio
import contextlib
import errno
import select
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import uvicorn

from claudcode import http, stopping

PATIENCE_S = 10
REQUEST = b"GET / HTTP/1.1\r\nhost: gateway\r\n\r\n"
CLOSES = b"connection: close"


@dataclass
class Stopped:
    """A server that a test stops, and whose long answer it lets end."""

    server: stopping.OrderlyServer
    port: int
    long: bool = False
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def stop(self) -> None:
        """Have it stop, and return when nobody can connect any more."""
        self.server.should_exit = True
        async with asyncio.timeout(PATIENCE_S):
            while self.server.servers[0].is_serving():
                await asyncio.sleep(0.01)


class Connection:
    """A proxy's connection, kept from request to request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self) -> bytes:
        """Send a request and return its answer."""
        self.send()
        return await self.answer()

    def send(self) -> None:
        """Send a request."""
        self._writer.write(REQUEST)

    async def answer(self) -> bytes:
        """Return the next answer; its body is in chunks."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readuntil(b"0\r\n\r\n")

    async def head(self) -> bytes:
        """Return the head of the next answer."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def closed(self) -> bool:
        """Return whether nothing more comes before the other side closes."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.read() == b""


@pytest.fixture
async def stopped(settings) -> AsyncIterator[Stopped]:
    settings.TRUSTED_PROXIES = ["127.0.0.1"]

    async def answer(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        if first.long:
            await first.may_end.wait()
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(
        answer,
        port=0,
        http=http.BoundedProtocol,
        lifespan="off",
        log_config=None,
        loop="none",
        timeout_graceful_shutdown=PATIENCE_S,
    )
    server = stopping.OrderlyServer(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    first = Stopped(server, server.servers[0].sockets[0].getsockname()[1])
    yield first
    server.should_exit = server.force_exit = True
    await serving


@contextlib.asynccontextmanager
async def connected(stopped: Stopped) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", stopped.port)
    yield Connection(reader, writer)
    writer.close()


async def test_a_proxys_idle_connection_is_answered_once_more_and_told_that_it_ends(stopped):
    async with connected(stopped) as connection:
        assert CLOSES not in await connection.ask()
        await stopped.stop()
        assert CLOSES in await connection.ask()
        assert await connection.closed()


async def test_a_connection_whose_answer_had_begun_is_answered_once_more(stopped):
    async with connected(stopped) as connection:
        stopped.long = True
        connection.send()
        assert CLOSES not in await connection.head()
        await stopped.stop()
        stopped.may_end.set()
        await connection.answer()
        assert CLOSES in await connection.ask()
        assert await connection.closed()


async def test_a_proxys_connection_that_stays_idle_is_closed(stopped, monkeypatch):
    monkeypatch.setattr(http, "LINGER_S", 0.1)
    async with connected(stopped) as connection:
        await connection.ask()
        await stopped.stop()
        assert await connection.closed()


async def test_the_idle_connection_of_anybody_else_is_closed_at_once(stopped, settings):
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    async with connected(stopped) as connection:
        await connection.ask()
        await stopped.stop()
        assert await connection.closed()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it takes Linux' kernel")
def test_who_was_taken_by_the_kernel_is_served_and_who_comes_later_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as late:
        with socket.create_connection(listening.getsockname(), PATIENCE_S) as taken:
            assert stopping.refuse_new_connections([listening])
            assert stopping.waiting([listening]) == 1
            late.setblocking(False)
            late.connect_ex(listening.getsockname())
            assert not select.select([], [late], [], 0.1)[1]
            accepted, _address = listening.accept()
            assert stopping.waiting([listening]) == 0
            taken.sendall(b"asked")
            assert accepted.recv(5) == b"asked"
            accepted.close()
        listening.close()
        assert select.select([], [late], [], PATIENCE_S)[1]
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
