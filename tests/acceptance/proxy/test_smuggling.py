"""Requests on whose end two readers could disagree: each is answered once and its connection
closed, or read in the one way that is allowed. What goes upstream is one well-formed request for
each that was admitted, and nobody is answered in another's place.
"""

import json
import re
import socket
import threading
from collections.abc import Iterator

import httptools
import pytest

from tests.acceptance.conftest import IMPATIENT
from tests.acceptance.developer import a_question
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.raw_http import answer_to, connect, head

QUESTION = json.dumps(a_question()).encode()
ANSWER = b'{"usage":{"input_tokens":1,"output_tokens":1}}'


class StrictUpstream:
    """Reads what the gateway sends with a parser of its own, and keeps each request."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[tuple[bytes, list[tuple[bytes, bytes]], bytes]] = []
        self.faults: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        reading = _Reading(self, connection)
        parser = httptools.HttpRequestParser(reading)
        with connection:
            while data := connection.recv(65536):
                try:
                    parser.feed_data(data)
                except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                    self.faults.append(repr(error))
                    return


class _Reading:
    def __init__(self, upstream: StrictUpstream, connection: socket.socket) -> None:
        self._upstream, self._connection = upstream, connection

    def on_message_begin(self) -> None:
        self._url, self._body = b"", b""
        self._headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._upstream.requests.append((self._url, self._headers, self._body))
        first = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        # Whose answer this is.
        mine = json.dumps({"asked": self._body.decode()}).encode()[:-1] + b"," + ANSWER[1:]
        self._connection.sendall(first + b"content-length: %d\r\n\r\n%b" % (len(mine), mine))


@pytest.fixture(scope="module")
def upstream() -> Iterator[StrictUpstream]:
    upstream = StrictUpstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def gateway(installation, upstream):
    with GatewayProcess(installation, upstream.url, **IMPATIENT) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _nothing_asked(upstream):
    upstream.requests.clear()
    upstream.faults.clear()


@pytest.fixture
def post(developer):
    """Puts a request together from its lines and what follows its head."""

    def build(*lines, body=b"", first="POST /v1/messages HTTP/1.1"):
        key = f"x-api-key: {developer.secret}"
        encoded = [line if isinstance(line, bytes) else line.encode() for line in lines]
        return b"\r\n".join([first.encode(), b"host: gateway", key.encode(), *encoded, b"", body])

    return build


def statuses(raw: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", raw)]


LENGTH = f"content-length: {len(QUESTION)}"
CHUNKED = "transfer-encoding: chunked"
SMUGGLED = b"POST /v1/smuggled HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


def chunk(data: bytes, extension: bytes = b"", end: bytes = b"\r\n") -> bytes:
    return b"%x%b%b%b\r\n" % (len(data), extension, end, data)


REFUSED = [
    pytest.param([LENGTH, CHUNKED], chunk(QUESTION) + b"0\r\n\r\n", id="CL and TE"),
    pytest.param([CHUNKED, LENGTH], QUESTION, id="TE and CL"),
    pytest.param([LENGTH, LENGTH], QUESTION, id="CL twice the same"),
    pytest.param([LENGTH, "content-length: 3"], QUESTION, id="CL twice"),
    pytest.param([f"content-length: {len(QUESTION)}, 3"], QUESTION, id="CL a list"),
    pytest.param([f"content-length: +{len(QUESTION)}"], QUESTION, id="CL with a sign"),
    pytest.param(["content-length: 0x10"], QUESTION, id="CL in hex"),
    pytest.param(["content-length: "], QUESTION, id="CL empty"),
    pytest.param(["content-length: 1" + "0" * 30], QUESTION, id="CL overflowing"),
    pytest.param([f"content-length : {len(QUESTION)}"], QUESTION, id="a blank before the colon"),
    pytest.param(["x-a: 1", " " + LENGTH], QUESTION, id="a folded line"),
    pytest.param(["x-a: 1\n" + LENGTH], QUESTION, id="a bare LF"),
    pytest.param(["x-a: 1\r" + LENGTH], QUESTION, id="a bare CR"),
    pytest.param(["x-a: \0", LENGTH], QUESTION, id="a NUL"),
    pytest.param([": 1", LENGTH], QUESTION, id="no name"),
    pytest.param(["no colon", LENGTH], QUESTION, id="no colon"),
    pytest.param([CHUNKED, CHUNKED], b"0\r\n\r\n", id="TE twice"),
    pytest.param(["transfer-encoding: xchunked"], b"0\r\n\r\n", id="TE unknown"),
    pytest.param(["transfer-encoding: identity"], QUESTION, id="TE identity"),
    pytest.param(["transfer-encoding: chunked, gzip"], b"0\r\n\r\n", id="TE not last"),
    pytest.param(["transfer-encoding: gzip, chunked"], b"0\r\n\r\n", id="TE twofold"),
    pytest.param(["transfer-encoding: \x0bchunked"], b"0\r\n\r\n", id="TE with a tab"),
    pytest.param(["transfer-encoding:"], b"0\r\n\r\n", id="TE empty"),
    pytest.param([CHUNKED], b"zz\r\n" + QUESTION, id="no chunk size"),
    pytest.param([CHUNKED], b"-5\r\n" + QUESTION, id="a negative chunk size"),
    pytest.param([CHUNKED], b"0x5\r\nhello\r\n0\r\n\r\n", id="a prefixed chunk size"),
    pytest.param([CHUNKED], b"f" * 17 + b"\r\n" + QUESTION, id="an overflowing chunk size"),
    pytest.param([CHUNKED], b"5 \r\nhello\r\n0\r\n\r\n", id="a blank after a chunk size"),
    pytest.param([CHUNKED], chunk(b"hello", end=b"\n") + b"0\r\n\r\n", id="LF after a chunk size"),
    pytest.param([CHUNKED], chunk(b"hi", b";a=b", b"\n") + b"0\r\n\r\n", id="LF after extension"),
    pytest.param([CHUNKED], b"3\r\nhello\r\n0\r\n\r\n", id="a chunk too long"),
    pytest.param([CHUNKED], chunk(b"hello") + b"0\r\ncontent-length: 5\r\n\r\n", id="CL a trailer"),
]


@pytest.mark.parametrize(("lines", "body"), REFUSED)
def test_what_could_be_read_in_two_ways_is_refused_and_closed(gateway, upstream, post, lines, body):
    raw = answer_to(gateway.port, post(*lines, body=body + SMUGGLED))
    assert statuses(raw) == [400]
    answer_head, _, content = raw.partition(b"\r\n\r\n")
    assert b"connection: close" in answer_head.lower()
    assert json.loads(content)["error"]["type"] == "invalid_request_error"
    assert upstream.requests == []


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"POST /v1/messages HTTP/2.0\r\n\r\n", id="a version to come"),
        pytest.param(b"POST\t/v1/messages\tHTTP/1.1\r\n\r\n", id="tabs"),
        pytest.param(b"POST /v1/messages HTTP/1.1\nhost: x\n\n", id="bare LFs"),
        pytest.param(b"POST /v1/mess ages HTTP/1.1\r\n\r\n", id="a blank in the path"),
        pytest.param(b"POST /v1/messages?\xff HTTP/1.1\r\n\r\n", id="a high byte in the path"),
        pytest.param(b"CONNECT api.anthropic.com:443 HTTP/1.1\r\n\r\n", id="CONNECT"),
        pytest.param(b" POST /v1/messages HTTP/1.1\r\n\r\n", id="a blank before it"),
    ],
)
def test_no_http_is_refused_and_closed(gateway, upstream, raw):
    assert statuses(answer_to(gateway.port, raw + SMUGGLED)) == [400]
    assert upstream.requests == []


def sent_once(upstream, body=QUESTION):
    """The head of the one request that went upstream, which has this body."""
    [(url, headers, sent)] = upstream.requests
    assert upstream.faults == []
    assert sent == body
    assert [value for name, value in headers if name == b"content-length"] == [b"%d" % len(body)]
    assert not any(name == b"transfer-encoding" for name, _value in headers)
    return url, dict(headers)


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        pytest.param([LENGTH], QUESTION, id="plain"),
        pytest.param([f"content-length: 000{len(QUESTION)}"], QUESTION, id="zeros before it"),
        pytest.param([CHUNKED], chunk(QUESTION) + b"0\r\n\r\n", id="chunked"),
        pytest.param(
            [CHUNKED],
            b"".join(chunk(QUESTION[n : n + 1], b';a="b;c"') for n in range(len(QUESTION)))
            + b"0\r\n\r\n",
            id="extensions",
        ),
        pytest.param(
            [CHUNKED, "trailer: x-api-key"],
            chunk(QUESTION) + b"0\r\nx-trailer: 1\r\nanthropic-beta: x\r\n\r\n",
            id="trailers",
        ),
        pytest.param([LENGTH, "connection: upgrade", "upgrade: h2c"], QUESTION, id="an upgrade"),
        pytest.param([LENGTH, "connection: x-trailer, close", "x-trailer: 1"], QUESTION, id="hop"),
        pytest.param([LENGTH, b"x-odd: \xff\xfe"], QUESTION, id="high bytes"),
        pytest.param([LENGTH, "host: other", "te: trailers"], QUESTION, id="a second host"),
    ],
)
def test_what_is_allowed_goes_upstream_as_one_request(gateway, upstream, post, lines, body):
    after = head("GET", "/v1/nothing", "connection: close")
    raw = answer_to(gateway.port, post(*lines, body=body) + after)
    assert statuses(raw)[:1] == [200]
    assert statuses(raw)[1:] in ([404], [])
    url, headers = sent_once(upstream)
    assert url == b"/v1/messages"
    assert not headers.keys() & {b"x-trailer", b"trailer", b"upgrade", b"te"}
    assert headers[b"host"] == upstream.url.removeprefix("http://").encode()
    assert b"anthropic-beta" not in headers


@pytest.mark.parametrize(
    ("first", "url"),
    [
        ("POST http://elsewhere/v1/messages HTTP/1.1", b"/v1/messages"),
        ("POST /v1/v1/messages/ HTTP/1.1", b"/v1/messages"),
        ("POST /v1/messages HTTP/1.0", b"/v1/messages"),
        ("POST /v1/%6dessages?beta=true&x=%0d%0a HTTP/1.1", b"/v1/messages?beta=true&x=%0d%0a"),
        ("POST /v1/messages?a#fragment HTTP/1.1", b"/v1/messages?a"),
    ],
)
def test_the_path_upstream_is_ours(gateway, upstream, post, first, url):
    raw = answer_to(gateway.port, post(LENGTH, "connection: close", first=first, body=QUESTION))
    assert statuses(raw) == [200]
    assert sent_once(upstream)[0] == url


def test_a_faulty_request_behind_a_good_one_is_answered_after_it(gateway, upstream, post):
    good = post(LENGTH, body=QUESTION)
    raw = answer_to(gateway.port, good + post(LENGTH, CHUNKED) + good)
    assert statuses(raw) == [200, 400]
    sent_once(upstream)


def test_everyone_gets_the_answer_to_what_they_asked(gateway, a_developer, upstream):
    developers = [a_developer(rpm=None, concurrency=None) for _number in range(4)]

    def asked(developer, number):
        body = json.dumps(a_question(f"question {number} of {developer.apikey.pk}")).encode()
        key, length = f"x-api-key: {developer.secret}", f"content-length: {len(body)}"
        return body, head("POST", "/v1/messages", key, length) + body

    def run(developer, found):
        sent = [asked(developer, number) for number in range(20)]
        found.append((sent, answer_to(gateway.port, *(raw for _body, raw in sent), b"\0\r\n\r\n")))

    results: list = []
    threads = [threading.Thread(target=run, args=(dev, results)) for dev in developers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(statuses(raw) == [200] * 20 + [400] for _sent, raw in results)
    answers = [re.findall(rb'\{"asked".*?\}\}', raw) for _sent, raw in results]
    for (sent, _raw), got in zip(results, answers, strict=True):
        assert [json.loads(answer)["asked"].encode() for answer in got] == [b for b, _r in sent]


def test_a_websocket_is_answered_and_nothing_is_logged(gateway, post):
    before = len(gateway.log())
    upgrade = "connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"
    with connect(gateway.port) as connection:
        connection.sendall(post(*upgrade, first="GET /v1/messages HTTP/1.1"))
        assert connection.recv(12) == b"HTTP/1.1 405"
    assert "WARNING" not in gateway.log()[before:]
