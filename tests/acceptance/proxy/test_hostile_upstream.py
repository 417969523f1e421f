"""Garbage for an answer: its bytes reach the client, its row says that the counts are ours, and
nothing is left behind.
"""

import random

import pytest

from tests.acceptance.conftest import IMPATIENT
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import ledger_entry
from tests.acceptance.scripted_upstream import ANSWER, STREAM, ScriptedUpstream, chunked, sized
from tests.chaos.measures import sockets
from tests.waiting import wait_until

KIB = 1024
START = b'event: message_start\ndata: {"message":{"model":"m","usage":{"input_tokens":11}}}\n\n'
DELTA = b'event: content_block_delta\ndata: {"delta":{"type":"text_delta","text":"word"}}\n\n'
LAST = b'event: message_delta\ndata: {"usage":{"output_tokens":%b}}\n\n'
STOP = b"event: message_stop\ndata: {}\n\n"
SOME_BYTES = random.Random(13).randbytes(300 * KIB)
GARBAGE = [
    pytest.param(SOME_BYTES, id="any bytes"),
    pytest.param(b"\n" * 100 * KIB, id="blank lines"),
    pytest.param(b"\r" * 100 * KIB, id="bare CRs"),
    pytest.param(b"\0" * 100 * KIB, id="zero bytes"),
    pytest.param(b"x" * 3000 * KIB, id="an endless line"),
    pytest.param(b"data: " * 500 * KIB, id="an endless event"),
    pytest.param(b"data: x\n" * 300 * KIB, id="an event of many lines"),
    pytest.param(START + b"event: content_block_delta\ndata: " + b'"' * 3000 * KIB, id="a delta"),
    pytest.param(b"\xef\xbb\xbf" + START + DELTA + LAST % b"3", id="a byte order mark"),
    pytest.param(START + DELTA + LAST % b"1e400", id="infinity"),
    pytest.param(START + DELTA + LAST % b"NaN", id="NaN"),
    pytest.param(START + DELTA + LAST % (b"9" * 5000), id="5,000 digits"),
    pytest.param(START + DELTA + LAST % (b"[" * 5000), id="nested"),
    pytest.param(START.replace(b'"m"', b'"\xff\xfe"') + DELTA + LAST % b"3", id="no UTF-8"),
    pytest.param(DELTA + LAST % b"3", id="no start"),
    pytest.param(START.replace(b'"m"', rb'"a\u0000b"') + DELTA, id="a NUL in the model's name"),
]


@pytest.fixture(scope="module")
def upstream():
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(installation, upstream):
    with GatewayProcess(installation, upstream.url, **IMPATIENT) as gateway:
        yield gateway


@pytest.fixture
def nothing_left(developer):
    """Looks whether the key has no place taken."""
    return lambda: developer.status()["rate_limit"]["in_flight"] == 0


@pytest.mark.parametrize("size", [7, 1024 * KIB])
@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_relayed_byte_for_byte(developer, upstream, nothing_left, garbage, size):
    stream = garbage + b"\n\n" + STOP
    stream = stream if size > 7 else stream[-5000:]
    chunks = (stream[start : start + size] for start in range(0, len(stream), size))
    upstream.script = [STREAM + chunked(*chunks)]
    answer = developer.ask(stream=True)
    entry = ledger_entry(answer.headers["request-id"])
    assert answer.content == stream
    assert (entry.status, entry.estimated) == ("completed", True)
    assert entry.charged_tokens > 0
    wait_until(nothing_left)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_that_breaks_off_ends_with_an_error_event(developer, upstream, garbage):
    upstream.script = [STREAM + b"transfer-encoding: chunked\r\n\r\n", b"ffffff\r\n" + garbage]
    answer = developer.ask(stream=True)
    entry = ledger_entry(answer.headers["request-id"])
    assert answer.content.rpartition(b"event: error")[0] == garbage[: answer.content.rfind(b"even")]
    assert (entry.status, entry.estimated) == ("upstream_error", True)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_instead_of_an_answer_is_relayed(developer, upstream, garbage):
    upstream.script = [ANSWER + sized(garbage)]
    answer = developer.ask()
    entry = ledger_entry(answer.headers["request-id"])
    assert answer.content == garbage
    assert entry.estimated


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(b"x-odd: a\x01b\r\n", id="a control character"),
        pytest.param(b"x-odd: a\0b\r\n", id="a NUL"),
        pytest.param(b"x odd: 1\r\n", id="a blank in a name"),
        pytest.param(b"x-odd: 1\r\n 2\r\n", id="a folded line"),
        pytest.param(b"x-odd: \xff\xfe\r\n", id="high bytes"),
        pytest.param(b"request-id: a\x7f\xff" + b"r" * 5000 + b"\r\n", id="an odd request id"),
        pytest.param(b"content-length: 7\r\n", id="a length beside chunks"),
        pytest.param(b"retry-after: " + b"9" * 5000 + b"\r\n", id="5,000 digits"),
        pytest.param(b"x-long: " + b"x" * 100 * KIB + b"\r\n", id="a long header"),
        pytest.param(b"x: 1\r\n" * 5000, id="many headers"),
    ],
)
@pytest.mark.parametrize("status", [b"200", b"400", b"429", b"999"])
def test_odd_heads_give_an_answer_or_a_502(developer, upstream, nothing_left, status, lines):
    first = b"HTTP/1.1 %b X\r\ncontent-type: application/json\r\n" % status
    upstream.script = [first + lines + chunked(b'{"error":{}}')]
    answer = developer.ask()
    assert answer.status_code in (200, 400, 502, 529)
    assert "x-odd" not in answer.headers or answer.headers["x-odd"].isprintable()
    wait_until(nothing_left)
    entry = ledger_entry(answer.headers["request-id"])
    assert entry.status in ("completed", "upstream_error")


def test_after_garbage_no_connection_is_left(gateway, upstream, developer):
    def connections():
        return sockets(gateway.pid)[0]

    upstream.script = [ANSWER + sized(b"{}")]
    developer.ask()
    before = connections()
    for garbage in (SOME_BYTES, b"\n" * KIB, START + DELTA):
        upstream.script = [STREAM + b"transfer-encoding: chunked\r\n\r\n", b"ffffff\r\n" + garbage]
        developer.ask(stream=True)
    wait_until(lambda: connections() <= before)
    assert "Traceback" not in gateway.log()
