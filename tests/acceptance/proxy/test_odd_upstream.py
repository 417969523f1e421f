"""Answers that no well-behaved upstream sends, and streams byte for byte."""

import json

import pytest

from tests.acceptance.conftest import IMPATIENT
from tests.acceptance.developer import a_question, events
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import ledger_entry
from tests.acceptance.scripted_upstream import ANSWER, STREAM, ScriptedUpstream, chunked, sized
from tests.waiting import wait_until

MIB = 1024 * 1024
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 11, "output_tokens": 7},
}
BODY = json.dumps(MESSAGE, indent=1).encode()


def event(name, **fields):
    return b"event: %b\ndata: %b\n\n" % (
        name.encode(),
        json.dumps({"type": name} | fields).encode(),
    )


START = event("message_start", message=MESSAGE | {"content": []})
DELTA = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Grüße, 世界"})
LAST = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 23})
STOP = event("message_stop")
WHOLE = START + DELTA + LAST + STOP


@pytest.fixture(scope="module")
def upstream():
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(installation, upstream):
    with GatewayProcess(installation, upstream.url, **IMPATIENT) as gateway:
        yield gateway


def settled(answer):
    return ledger_entry(answer.headers["request-id"])


@pytest.fixture
def stands_still(upstream):
    """Tells how much upstream has got rid of, once two looks see the same."""
    looks = [0]

    def look():
        looks.append(upstream.sent_bytes)
        return looks[-1] if looks[-1] == looks[-2] else 0

    return look


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(sized(BODY), id="with a length"),
        pytest.param(chunked(BODY), id="in one chunk"),
        pytest.param(chunked(*(BODY[n : n + 5] for n in range(0, len(BODY), 5))), id="in many"),
        pytest.param(b"connection: close\r\n\r\n" + BODY, id="to the end of the connection"),
    ],
)
def test_an_answer_is_relayed_byte_for_byte_and_counted(developer, upstream, body):
    upstream.script = [ANSWER + body]
    answer = developer.ask()
    entry = settled(answer)
    assert (answer.status_code, answer.content) == (200, BODY)
    assert (entry.status, entry.estimated) == ("completed", False)
    assert (entry.input_tokens, entry.output_tokens) == (11, 7)


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(WHOLE, id="plain"),
        pytest.param(WHOLE.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(b": hello\n\n" + WHOLE, id="a comment"),
        pytest.param(START + event("brand_new", x=1) + DELTA + LAST + STOP, id="an unknown event"),
        pytest.param(WHOLE + b"data: [DONE]\n\n", id="something after the end"),
        pytest.param(START + DELTA * 2000 + LAST + STOP, id="long"),
    ],
)
@pytest.mark.parametrize("size", [1, 13, 100_000])
def test_a_stream_is_relayed_byte_for_byte_and_counted(developer, upstream, stream, size):
    chunks = (stream[start : start + size] for start in range(0, len(stream), size))
    upstream.script = [STREAM + chunked(*chunks)]
    answer = developer.ask(stream=True)
    entry = settled(answer)
    assert answer.content == stream
    assert (entry.status, entry.estimated) == ("completed", False)
    assert (entry.input_tokens, entry.output_tokens) == (11, 23)


def test_a_huge_event_is_relayed_and_what_follows_is_counted(developer, upstream):
    stream = START + b"data: " + b"x" * (5 * MIB) + b"\n\n" + DELTA + LAST + STOP
    upstream.script = [STREAM + chunked(stream)]
    answer = developer.ask(stream=True)
    entry = settled(answer)
    assert answer.content == stream
    assert (entry.status, entry.output_tokens, entry.estimated) == ("completed", 23, False)


def test_a_ping_never_falls_into_an_event(developer, upstream):
    half = len(DELTA) // 2
    upstream.script = [STREAM + b"\r\n" + START + DELTA[:half], 1.5, DELTA[half:] + LAST + STOP]
    answer = developer.ask(stream=True)
    assert events(answer) == [
        *("message_start", "ping", "content_block_delta", "message_delta", "message_stop"),
    ]
    assert DELTA in answer.content


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(START + DELTA, id="a clean end without a stop"),
        pytest.param(START + DELTA + DELTA[:30], id="the end inside an event"),
        pytest.param(b"", id="no event at all"),
    ],
)
def test_a_stream_that_ends_too_soon_ends_with_an_error_event(developer, upstream, stream):
    upstream.script = [STREAM + chunked(stream) if stream else STREAM + sized(b"")]
    answer = developer.ask(stream=True)
    assert answer.status_code == 200
    assert events(answer)[-1] == "error"
    assert answer.content.startswith(stream[: len(START + DELTA)])
    assert DELTA[:30] not in answer.content.replace(DELTA, b"")
    assert settled(answer).status == "upstream_error"


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"event: message_start\ndata: {nonsense}\n\n" + DELTA + STOP, id="nonsense"),
        pytest.param(event("message_start", message=None) + DELTA + STOP, id="no message"),
        pytest.param(
            event("message_start", message=MESSAGE | {"usage": {"input_tokens": -5}}) + STOP,
            id="negative counts",
        ),
        pytest.param(
            event("message_start", message=MESSAGE | {"usage": {"input_tokens": 10**40}}) + STOP,
            id="endless counts",
        ),
    ],
)
def test_a_stream_that_cannot_be_counted_is_still_relayed(developer, upstream, stream):
    upstream.script = [STREAM + chunked(stream)]
    answer = developer.ask(stream=True)
    assert answer.content == stream
    assert settled(answer).input_tokens >= 0


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>hello</html>", id="a page"),
        pytest.param(b"{}", id="no usage"),
        pytest.param(b'{"usage":{"input_tokens":"many"}}', id="no number"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_an_answer_that_cannot_be_counted_is_still_relayed(developer, upstream, body):
    upstream.script = [ANSWER + sized(body)]
    answer = developer.ask()
    entry = settled(answer)
    assert (answer.status_code, answer.content) == (200, body)
    assert entry.estimated
    assert entry.charged_tokens > 0


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([], id="not a word"),
        pytest.param([b"SSH-2.0-OpenSSH_9.6\r\n"], id="not HTTP"),
        pytest.param([b"HTTP/1.1 200"], id="half a line"),
        pytest.param([b"HTTP/1.1 307 X\r\nlocation: /elsewhere\r\n" + sized(b"")], id="redirect"),
        pytest.param([b"HTTP/1.1 204 X\r\n\r\n"], id="204"),
        pytest.param([b"HTTP/1.1 500 X\r\n" + sized(b"x" * 100)[:-50]], id="an error cut short"),
        pytest.param([b"HTTP/1.1 400 X\r\n" + sized(b"x" * 100)[:-50]], id="a refusal cut short"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_502_for_an_upstream_that_makes_no_sense(developer, upstream, script, streamed):
    upstream.script = script
    answer = developer.ask(stream=streamed)
    assert (answer.status_code, answer.json()["error"]["type"]) == (502, "api_error")
    assert developer.status()["budget"]["used_tokens"] == 0


def test_a_body_of_upstreams_errors_is_bounded(developer, gateway, upstream):
    upstream.script = [b"HTTP/1.1 400 X\r\n\r\n" + b"x" * (64 * MIB)]
    before = gateway.memory_bytes()
    answer = developer.ask()
    assert answer.status_code in (400, 502)
    assert len(answer.content) < 2 * MIB
    assert gateway.memory_bytes() - before < 16 * MIB


def test_a_huge_error_of_told_length_comes_whole_as_far_as_it_goes(developer, upstream):
    size = 3 * MIB
    upstream.script = [b"HTTP/1.1 400 X\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size]
    answer = developer.ask()
    assert answer.status_code == 400
    assert MIB <= len(answer.content) == int(answer.headers["content-length"]) < 2 * MIB


def test_a_client_that_does_not_read_slows_upstream_down(
    developer, gateway, upstream, stands_still
):
    stream = START + DELTA * (100 * MIB // len(DELTA)) + LAST + STOP
    upstream.script = [STREAM + b"\r\n", stream]
    before = gateway.memory_bytes()
    with developer.listen() as answer:
        stands_at = wait_until(stands_still, every_s=0.2)
        assert stands_at < len(stream)
        assert gateway.memory_bytes() - before < 8 * MIB
        assert sum(len(chunk) for chunk in answer.iter_bytes()) == len(stream)
    assert gateway.memory_bytes() - before < 8 * MIB


def test_502_when_nobody_listens(developer, upstream):
    upstream.close()
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        answer = developer.post(path, json=a_question())
        assert (answer.status_code, answer.json()["error"]["type"]) == (502, "api_error")
