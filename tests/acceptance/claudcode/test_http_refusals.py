"""Hostile connections, over a socket, against uvicorn with our protocol: who is answered what, and
when, and that nobody waits for somebody who has left.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator

import pytest
import uvicorn

from claudcode import http

GARBAGE = b"\0garbage\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked"
LAST_CHUNK = b"0\r\n"


class Application:
    """Answers by path; `left` is set when a client of `/hold` has left."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.held = asyncio.Event()
        self.go_on = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, scope, receive, send):
        self.asked.append(scope["path"])
        if scope["path"] == "/early":
            return await answer(send, b"early")
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message["body"]
            more = message["more_body"]
        if scope["path"] == "/hold":
            return await self._hold(receive, send)
        names = b",".join(name for name, _value in scope["headers"])
        await answer(send, b"%b %b [%b]" % (scope["path"].encode(), body[:100], names))

    async def _hold(self, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        self.held.set()
        gone = asyncio.ensure_future(receive())
        going = asyncio.ensure_future(self.go_on.wait())
        await asyncio.wait({gone, going}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            self.left.set()
        gone.cancel()
        going.cancel()
        await send({"type": "http.response.body", "body": b"ended"})


async def answer(send, body):
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


class Connection:
    """One client's connection."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> "Connection":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._writer.close()

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()

    async def until(self, mark: bytes) -> bytes:
        """What comes, `mark` the last of it."""
        return await asyncio.wait_for(self._reader.readuntil(mark), timeout=10)

    def vanish(self) -> None:
        """Leave without a word."""
        self._writer.transport.abort()

    async def all(self) -> bytes:
        """Everything that comes until the server closes."""
        return await asyncio.wait_for(self._reader.read(), timeout=10)


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
async def port(application) -> AsyncIterator[int]:
    config = uvicorn.Config(
        application,
        port=0,
        http=http.BoundedProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        loop="none",
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


@pytest.fixture
async def client(port) -> AsyncIterator[Connection]:
    async with Connection(port) as connection:
        yield connection


def a_request(path: str, *lines: bytes, body: bytes = b"", method: str = "POST") -> bytes:
    framing = [] if CHUNKED in lines else [b"content-length: %d" % len(body)]
    first = f"{method} {path} HTTP/1.1".encode()
    return b"\r\n".join([first, b"host: gateway", *lines, *framing, b"", body])


CLOSE = a_request("/last", b"connection: close")


def statuses(raw: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", raw)]


async def test_a_request_behind_a_large_body_is_not_taken_for_a_large_head(client):
    body = b"x" * (3 * http.HEAD_BYTES_MAX)
    await client.send(a_request("/first", body=body) + CLOSE[:-10], CLOSE[-10:])
    assert statuses(await client.all()) == [200, 200]


@pytest.mark.parametrize(
    ("begin", "endless"),
    [
        pytest.param(LAST_CHUNK + b"x-trailer: ", b"0", id="a trailer"),
        pytest.param(LAST_CHUNK, b"x-trailer: 1\r\n", id="trailers"),
        pytest.param(b"5;extension=", b"0", id="a chunk extension"),
        pytest.param(b"0", b"0", id="a chunk's length"),
    ],
)
@pytest.mark.parametrize("path", ["/echo", "/early"])
async def test_what_never_ends_after_a_head_is_cut_off(client, begin, endless, path):
    await client.send(a_request(path, CHUNKED), begin)
    with pytest.raises(ConnectionError):
        await client.send(*[endless * 1000] * 10_000)


async def test_trailers_are_dropped(client):
    trailers = b"x-trailer: 1\r\nx-api-key: other\r\n\r\n"
    chunks = b"2\r\nhi\r\n" + LAST_CHUNK + trailers
    await client.send(a_request("/echo", CHUNKED), chunks, CLOSE)
    raw = await client.all()
    assert statuses(raw) == [200, 200]
    assert b"/echo hi [host,transfer-encoding]" in raw


async def test_garbage_waits_until_the_request_before_it_is_answered(application, client):
    await client.send(a_request("/hold"))
    await asyncio.wait_for(application.held.wait(), timeout=5)
    await client.send(GARBAGE, CLOSE)
    application.go_on.set()
    raw = await client.all()
    assert statuses(raw) == [200, 400]
    assert raw.index(b"ended") < raw.index(b"HTTP/1.1 400")
    assert not application.left.is_set()
    assert application.asked == ["/hold"]


async def test_a_faulty_body_behind_a_request_is_refused_in_its_turn(application, client):
    await client.send(a_request("/hold"))
    await asyncio.wait_for(application.held.wait(), timeout=5)
    await client.send(a_request("/faulty", CHUNKED) + b"nonsense\r\n" + CLOSE)
    application.go_on.set()
    assert statuses(await client.all()) == [200, 400]
    assert application.asked == ["/hold"]


async def test_a_faulty_body_is_answered_once(application, client):
    await client.send(a_request("/echo", CHUNKED), b"nonsense\r\n", CLOSE)
    raw = await client.all()
    assert statuses(raw) == [400]
    assert json.loads(raw.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"


async def test_a_body_that_turns_faulty_after_the_answer_gets_no_second_one(client):
    await client.send(a_request("/early", CHUNKED))
    assert b"early" in await client.until(b"early")
    await client.send(b"nonsense\r\n" + CLOSE)
    assert await client.all() == b""


async def test_who_leaves_has_left_all_the_requests_that_were_sent(application, client):
    await client.send(a_request("/hold"), a_request("/second"))
    await asyncio.wait_for(application.held.wait(), timeout=5)
    client.vanish()
    await asyncio.wait_for(application.left.wait(), timeout=5)
    assert application.asked == ["/hold"]


async def test_blank_lines_do_not_keep_a_connection(client, monkeypatch):
    monkeypatch.setattr(http, "HEAD_SECONDS_MAX", 0.2)
    await client.send(a_request("/first"))
    await client.until(b"]")
    await client.send(b"\r\n")
    assert await client.all() == b""


async def test_blank_lines_do_not_end_an_answer(application, client, monkeypatch):
    monkeypatch.setattr(http, "HEAD_SECONDS_MAX", 0.1)
    await client.send(a_request("/hold") + b"\r\n")
    await asyncio.wait_for(application.held.wait(), timeout=5)
    await client.send(b"\r\n")
    await asyncio.sleep(0.3)
    application.go_on.set()
    await client.until(b"ended")


async def test_few_requests_wait_behind_one(application, client):
    await client.send(a_request("/hold") + a_request("/next") * (http.PIPELINED_MAX + 5))
    await asyncio.wait_for(application.held.wait(), timeout=5)
    application.go_on.set()
    assert statuses(await client.all()) == [200] * (1 + http.PIPELINED_MAX) + [400]


@pytest.mark.parametrize("path", ["/v1/messages", "/elsewhere", "/usage/live"])
@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.0"])
async def test_an_upgrade_is_ignored_body_and_all(client, caplog, path, protocol):
    lines = b"connection: upgrade, http2-settings", b"upgrade: " + protocol, b"http2-settings: AA"
    asked = a_request(path, *lines, body=b"hi")
    await client.send(asked * 20 + CLOSE)
    raw = await client.all()
    assert statuses(raw) == [200] * 21
    assert raw.count(path.encode() + b" hi [host,connection,http2-settings,") == 20
    assert caplog.records == []


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(a_request("gateway:443", method="CONNECT"), id="CONNECT"),
        pytest.param(a_request("/x", b"transfer-encoding: gzip, chunked"), id="two codings"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"GET / HTTP/2.0\r\n\r\n", id="HTTP/2 in the words of HTTP/1"),
        pytest.param(b"GET /\r\n\r\n", id="HTTP/0.9"),
    ],
)
async def test_what_llhttp_would_take_is_refused(application, client, caplog, raw):
    await client.send(raw)
    assert statuses(await client.all()) == [400]
    assert application.asked == []
    assert caplog.records == []
