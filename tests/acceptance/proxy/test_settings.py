"""Bounds that an operator sets, each made small enough to run into."""

import json
import select
import socket
import time
from contextlib import ExitStack

import httpx
import pytest

from keys.core.access import Hangup
from tests.acceptance.developer import a_name, a_question, events
from tests.acceptance.installation import ledger_entry, only_entry
from tests.acceptance.proxy.conftest import TUNED

LONG = "[[sim:tokens=900]] [[sim:rate=100]]"
BODY_BYTES_MAX = int(TUNED["BODY_BYTES_MAX"])


@pytest.fixture(scope="module")
def gateway(tuned_gateway):
    return tuned_gateway


def test_counting_has_a_limit_of_its_own(a_developer):
    developer = a_developer(rpm=1)
    path = "/v1/messages/count_tokens"
    answers = [developer.post(path, json=a_question()) for _call in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert "3 count_tokens calls a minute" in answers[3].json()["error"]["message"]
    assert 58 <= int(answers[3].headers["retry-after"]) <= 61
    assert developer.ask().status_code == 200


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_largest_body_is_exact(developer, over, status, chunked):
    raw = json.dumps(a_question()).encode()
    raw = raw.ljust(BODY_BYTES_MAX + over)
    content = (raw[start : start + 9000] for start in range(0, len(raw), 9000)) if chunked else raw
    assert developer.post("/v1/messages", content=content).status_code == status


def half_sent(gateway, developer):
    """A connection that has sent all of a large body but its last byte."""
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
    head = (
        f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {developer.secret}\r\n"
        f"content-length: {BODY_BYTES_MAX}\r\n\r\n"
    )
    connection.sendall(head.encode() + b" " * (BODY_BYTES_MAX - 1))
    return connection


def test_the_bodies_held_at_once_are_bounded(developer, gateway):
    with ExitStack() as stack:
        # Two of three reach the same worker, where there is room for one and a half.
        held = [stack.enter_context(half_sent(gateway, developer)) for _connection in range(3)]
        answered, _, _ = select.select(held, [], [], 5)
        assert {connection.recv(12) for connection in answered} == {b"HTTP/1.1 503"}
    assert developer.ask().status_code == 200


def test_a_stream_that_takes_too_long_ends_with_an_error_event(developer):
    answer = developer.ask(LONG, stream=True)
    assert events(answer)[-1] == "error"
    entry = ledger_entry(answer.headers["request-id"])
    assert (entry.status, entry.estimated) == ("gateway_error", True)
    assert 2900 <= entry.total_ms < 4500
    assert 50 < entry.output_tokens < 900


def test_an_answer_that_takes_too_long_is_502(developer):
    answer = developer.ask(LONG)
    assert (answer.status_code, answer.json()["error"]["type"]) == (502, "api_error")


def test_what_is_drained_after_a_hang_up_is_bounded(a_developer, simulator):
    developer, name = a_developer(hangup=Hangup.DRAIN), a_name()
    headers = developer.headers | {"x-exchange-id": name}
    question = a_question(LONG, stream=True)
    url = f"{developer.base_url}/v1/messages"
    with httpx.stream("POST", url, json=question, headers=headers) as answer:
        next(answer.iter_lines())
    left_s = time.time()
    book = simulator.wait_for_entry(lambda e: e["headers"].get("x-exchange-id") == name)
    entry = only_entry(developer.apikey)
    assert 0.8 < book["ended_at_ms"] / 1000 - left_s < 2
    assert (entry.status, entry.estimated) == ("hung_up", True)


@pytest.mark.parametrize(
    ("hops", "status"),
    [
        pytest.param("10.20.0.7", 200, id="the client"),
        pytest.param("10.20.0.7, 127.0.0.9", 200, id="through another proxy of ours"),
        pytest.param("192.0.2.1, 10.20.0.7", 200, id="who says he speaks for another"),
        pytest.param("10.20.0.7, 192.0.2.1", 401, id="through a stranger"),
        pytest.param("192.0.2.1", 401, id="someone else"),
        pytest.param("nonsense", 401, id="nobody"),
        pytest.param("", 401, id="the proxy itself"),
    ],
)
def test_a_trusted_proxy_tells_the_clients_address(a_developer, hops, status):
    developer = a_developer(cidrs=["10.20.0.0/16"])
    headers = {"x-forwarded-for": hops}
    answer = developer.post("/v1/messages", json=a_question(), headers=headers)
    assert answer.status_code == status


def test_the_ledger_has_the_address_that_was_told(a_developer):
    developer = a_developer()
    developer.post("/v1/messages", json=a_question(), headers={"x-forwarded-for": "192.0.2.33"})
    assert only_entry(developer.apikey).client_address == "192.0.2.33"


def test_what_is_read_from_a_cache_weighs_what_was_set(developer):
    prefix = {"type": "text", "text": "weighed " * 5000, "cache_control": {"type": "ephemeral"}}
    question = a_question(system=[prefix])
    writing, reading = (developer.post("/v1/messages", json=question) for _twice in range(2))
    read = reading.json()["usage"]["cache_read_input_tokens"]
    assert read == writing.json()["usage"]["cache_creation_input_tokens"] > 4096
    entry = ledger_entry(reading.headers["request-id"])
    assert entry.cache_read_input_tokens == read
    assert entry.charged_tokens == entry.input_tokens + entry.output_tokens + -(-read // 2)
