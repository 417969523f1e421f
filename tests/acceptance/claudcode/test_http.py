"""The bounds on a request's head, over a socket, against uvicorn with our protocol."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn

from claudcode import http

ANSWER = b"HTTP/1.1 200 OK"


async def hello(scope, receive, send):
    """Read the body and answer."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    config = uvicorn.Config(
        hello, port=0, http=http.BoundedProtocol, lifespan="off", log_config=None, loop="none"
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def exchange(port: int, *parts: bytes) -> bytes:
    """Send the parts one by one; return what comes back until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0)
    answer = await asyncio.wait_for(reader.read(), timeout=10)
    writer.close()
    return answer


def a_request(*headers: bytes, body: bytes = b"") -> bytes:
    lines = [b"POST /v1/messages HTTP/1.1", b"connection: close", *headers]
    lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


async def test_a_request_as_usual_is_answered(port):
    assert (await exchange(port, a_request(b"x-a: 1", body=b"{}"))).startswith(ANSWER)


async def test_a_head_may_come_byte_by_byte(port):
    request = a_request(b"x-a: 1")
    parts = [request[i : i + 1] for i in range(len(request))]
    assert (await exchange(port, *parts)).startswith(ANSWER)


async def test_a_large_body_in_one_piece_with_its_head_is_not_counted(port):
    body = b"x" * (2 * http.HEAD_BYTES_MAX)
    assert (await exchange(port, a_request(body=body))).startswith(ANSWER)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([b"x-a: " + b"a" * (http.HEAD_BYTES_MAX + 1)], id="one long header"),
        pytest.param([b"x-%d: 1" % n for n in range(http.HEAD_LINES_MAX)], id="many headers"),
        pytest.param([b"x-a: " + b"a" * 1000] * 70, id="many bytes in all"),
    ],
)
async def test_a_flood_of_headers_is_431(port, headers):
    answer = await exchange(port, a_request(*headers))
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b'"type":"invalid_request_error"' in answer


async def test_a_header_that_never_ends_is_431(port):
    answer = await exchange(port, b"GET / HTTP/1.1\r\nx-a: ", *[b"a" * 8192] * 9)
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_head_that_never_comes_is_closed(port, monkeypatch):
    monkeypatch.setattr(http, "HEAD_SECONDS_MAX", 0.2)
    assert await exchange(port, b"GET / HTTP/1.1\r\n") == b""


async def test_nonsense_is_400(port):
    assert (await exchange(port, b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
