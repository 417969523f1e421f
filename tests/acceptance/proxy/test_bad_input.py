"""Requests that are too large, too slow, or no HTTP: the right status, and nothing kept."""

import json
import re
import time

import pytest

from tests.acceptance.developer import a_question
from tests.acceptance.installation import only_entry
from tests.acceptance.raw_http import answer_to, connect, head, send_until_refused

MIB = 1024 * 1024
TOO_LARGE = 40 * MIB
QUESTION = json.dumps(a_question()).encode()


def key_line(developer):
    return f"x-api-key: {developer.secret}"


def error_type(raw):
    return json.loads(raw.partition(b"\r\n\r\n")[2])["error"]["type"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_413_for_a_body_that_says_it_is_too_large_before_it_is_sent(developer, gateway, path):
    length = f"content-length: {TOO_LARGE}"
    raw = answer_to(gateway.port, head("POST", path, key_line(developer), length))
    assert raw.startswith(b"HTTP/1.1 413")
    assert error_type(raw) == "request_too_large"


def test_a_chunked_body_is_read_no_further_than_the_limit(developer, gateway):
    with connect(gateway.port) as connection:
        chunked = "transfer-encoding: chunked"
        connection.sendall(head("POST", "/v1/messages", key_line(developer), chunked))
        chunk = b"%x\r\n%b\r\n" % (MIB, b" " * MIB)
        # Beyond the limit it is only what the sockets hold.
        assert 32 <= send_until_refused(connection, chunk, times=200) < 50


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_40_megabytes_is_told_413(developer, chunked):
    piece = b" " * MIB
    content = (piece for _number in range(40)) if chunked else piece * 40
    answer = developer.post("/v1/messages", content=content)
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "request_too_large"
    assert answer.headers["connection"] == "close"


def test_408_for_a_body_that_comes_too_slowly(developer, gateway):
    began_s = time.monotonic()
    lines = key_line(developer), "content-length: 100"
    raw = answer_to(gateway.port, head("POST", "/v1/messages", *lines), b"{", b'"')
    assert raw.startswith(b"HTTP/1.1 408")
    assert error_type(raw) == "timeout_error"
    assert 2.9 < time.monotonic() - began_s < 5


def test_a_body_that_never_ends_is_admitted_nowhere(a_developer, gateway):
    developer = a_developer(concurrency=1)
    lines = key_line(developer), "content-length: 100"
    with connect(gateway.port) as connection:
        connection.sendall(head("POST", "/v1/messages", *lines) + b"{")
        assert developer.status()["rate_limit"]["in_flight"] == 0
    assert developer.status()["rate_limit"]["remaining"] == 60


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([f"x-{n}: 1" for n in range(1000)], id="many"),
        pytest.param(["x-long: " + "x" * 100_000], id="one long"),
        pytest.param(["x" * 100_000 + ": 1"], id="one with a long name"),
        pytest.param([f"x-{n}: {'x' * 1000}" for n in range(200)], id="much together"),
    ],
)
def test_431_for_a_flood_of_headers(gateway, lines):
    assert answer_to(gateway.port, head("GET", "/v1/models", *lines)).startswith(b"HTTP/1.1 431")


def test_431_for_an_endless_path(gateway):
    raw = answer_to(gateway.port, head("GET", "/v1/models?" + "x" * 100_000))
    assert raw.startswith(b"HTTP/1.1 431")


def test_431_for_a_header_that_never_ends(gateway):
    with connect(gateway.port) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nx-endless: ")
        assert send_until_refused(connection, b"x" * MIB, times=200) < 20


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"hello\r\n\r\n", id="no HTTP"),
        pytest.param(b"GET /v1/models HTTP/9.9\r\n\r\n", id="a version to come"),
        pytest.param(b"GET /v1/models HTTP/1.1\r\nno colon\r\n\r\n", id="no header"),
        pytest.param(head("POST", "/v1/messages", "content-length: -1"), id="a negative length"),
        pytest.param(head("POST", "/v1/messages", "content-length: many"), id="no length"),
        pytest.param(
            head("POST", "/v1/messages", "content-length: 5", "content-length: 6"),
            id="two lengths",
        ),
        pytest.param(
            head("POST", "/v1/messages", "content-length: 5", "transfer-encoding: chunked"),
            id="a length and chunks",
        ),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, id="TLS"),
    ],
)
def test_400_for_what_is_no_http(gateway, request_bytes):
    assert answer_to(gateway.port, request_bytes).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/%00",
        "/v1/models/%ff%fe",
        "/v1/models/" + "m" * 5000,
        "/v1/models/..%2f..%2fetc",
        "/v1/%F0%9F%91%8B",
        "/v1//messages",
        "/v1/messages%0d%0ax-injected:1",
    ],
)
def test_404_for_an_odd_path(developer, gateway, path):
    lines = key_line(developer), "connection: close"
    raw = answer_to(gateway.port, head("GET", path, *lines))
    assert raw.startswith(b"HTTP/1.1 404")
    assert error_type(raw) == "not_found_error"
    assert b"\nx-injected" not in raw


@pytest.mark.parametrize("value", [b"\xff\xfe", b"\x80\x9f", b"x" * 5000, "é\u2028".encode(), b""])
def test_odd_headers_are_stored_safely(developer, value):
    headers = {"x-claude-code-session-id": value, "user-agent": value}
    url = f"{developer.base_url}/v1/messages"
    headers |= developer.headers
    answer = developer.http.post(url, content=QUESTION, headers=headers)
    assert answer.status_code == 200
    entry = only_entry(developer.apikey)
    assert len(entry.session_id) <= 64
    assert len(entry.client_agent) <= 200
    assert (entry.session_id + entry.client_agent).isprintable()


def test_http_1_0_is_answered(developer, gateway):
    request = f"GET /v1/models HTTP/1.0\r\n{key_line(developer)}\r\n\r\n".encode()
    assert b" 200 " in answer_to(gateway.port, request)[:20]


def test_pipelined_requests_are_answered_in_order(developer, gateway):
    lines = key_line(developer), f"content-length: {len(QUESTION)}"
    asked = head("POST", "/v1/messages", *lines) + QUESTION
    last = head("GET", "/v1/nothing", "connection: close")
    raw = answer_to(gateway.port, asked + asked + last)
    assert re.findall(rb"HTTP/1.1 (\d+)", raw) == [b"200", b"200", b"404"]


def test_an_unused_body_does_not_become_the_next_request(gateway):
    smuggled = head("GET", "/v1/models")
    refused = head("POST", "/v1/messages", f"content-length: {len(smuggled)}")
    last = head("GET", "/v1/nothing", "connection: close")
    raw = answer_to(gateway.port, refused + smuggled + last)
    assert re.findall(rb"HTTP/1.1 (\d+)", raw) == [b"401", b"404"]


def test_no_websocket_is_spoken_here(gateway):
    upgrade = (
        *("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"),
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    with connect(gateway.port) as connection:
        connection.sendall(head("GET", "/v1/messages", *upgrade))
        assert connection.recv(12) == b"HTTP/1.1 405"


def test_who_expects_to_be_asked_is_asked(developer, gateway):
    lines = key_line(developer), "expect: 100-continue", f"content-length: {len(QUESTION)}"
    with connect(gateway.port) as connection:
        connection.sendall(head("POST", "/v1/messages", *lines, "connection: close"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(QUESTION)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_who_expects_to_be_asked_is_not_asked_for_too_much(developer, gateway):
    lines = key_line(developer), "expect: 100-continue", f"content-length: {TOO_LARGE}"
    raw = answer_to(gateway.port, head("POST", "/v1/messages", *lines))
    assert raw.startswith(b"HTTP/1.1 413")
