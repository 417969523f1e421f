"""What upstream gets to see: heads, bodies of any size; and answers that come too early."""

import asyncio
import os

import pytest

from proxy.upstream import Upstream, UpstreamUnreachable
from tests.integration.proxy.upstream.wire import WHOLE, ask, read, saying, serving


async def test_a_request_is_written_as_it_should_be(client):
    async with serving(saying(WHOLE)) as server:
        await read(await ask(client, server, b"{}", query=b"a=%20", headers=[(b"x-a", b"1")]))
    host = server.upstream.base_url.removeprefix("http://").encode()
    assert server.requests == [
        b"POST /v1/messages?a=%%20 HTTP/1.1\r\nhost: %b\r\ncontent-length: 2\r\nx-a: 1\r\n\r\n{}"
        % host
    ]


async def test_an_address_with_a_path_goes_before_the_path(client):
    async with serving(saying(WHOLE)) as server:
        upstream = Upstream("x", server.upstream.base_url + "/team/a/", ())
        await read(await client.send(upstream, "POST", "/v1/messages", b"", [], b""))
    assert server.requests[0].startswith(b"POST /team/a/v1/messages HTTP/1.1\r\n")


@pytest.mark.parametrize("size", [0, 1, 65_536, 262_144, 262_145, 8_000_000])
async def test_a_body_of_any_size_arrives(client, size):
    body = os.urandom(size)
    async with serving(saying(WHOLE)) as server:
        for _ in range(2):
            await read(await ask(client, server, body))
    assert [request.partition(b"\r\n\r\n")[2] == body for request in server.requests] == [True] * 2
    assert server.connections == 1


async def test_an_answer_may_come_before_the_request_is_written(client):
    early = b"HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\n\r\nlarge"

    async def play(wire, server):
        await wire.reader.readuntil(b"\r\n\r\n")
        await wire.say(early)
        await wire.closed()

    async with serving(play) as server:
        answer = await ask(client, server, b"x" * 32_000_000)
        assert (answer.status, await read(answer)) == (413, b"large")
        async with asyncio.timeout(5):
            while server.open:
                await asyncio.sleep(0.01)


async def test_upstream_may_take_a_large_request_slowly(client):
    async def play(wire, server):
        for _ in range(30):
            await wire.reader.read(65_536)
            await asyncio.sleep(0.05)
        await wire.say(WHOLE)

    async with serving(play) as server:
        answer = await ask(client, server, b"x" * 32_000_000)
        assert await answer.piece() == b"hello"
        answer.finish()


async def test_upstream_that_takes_nothing_more_is_silent(client):
    async def play(wire, server):
        await wire.reader.readuntil(b"\r\n\r\n")
        wire.writer.transport.pause_reading()
        await asyncio.sleep(5)

    async with serving(play) as server:
        with pytest.raises(UpstreamUnreachable, match="silent") as caught:
            await ask(client, server, b"x" * 32_000_000)
    assert caught.value.timed_out
