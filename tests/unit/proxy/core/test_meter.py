import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.estimate import tokens_of
from proxy.core.meter import (
    ANSWER_BYTES_MAX,
    ANSWER_BYTES_PER_TOKEN,
    COUNT_MAX,
    AnswerMeter,
    StreamMeter,
    overlay,
)
from proxy.core.sse import Framer
from usage.core.tokens import TokenUsage

RATIO = 1.0
TEXT = "Good morning, everybody. The tide comes in twice a day. "


def event(name, **fields):
    return f"event: {name}\ndata: {json.dumps({'type': name} | fields)}\n\n".encode()


def start(**usage):
    return event("message_start", message={"model": "claude-haiku-4-5", "usage": usage})


def delta(text="word", **fields):
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def last(stop_reason="end_turn", **usage):
    return event("message_delta", delta={"stop_reason": stop_reason}, usage=usage)


STOP = event("message_stop")
WHOLE = start(input_tokens=11, output_tokens=1) + delta() * 3 + last(output_tokens=6) + STOP


def metered(*pieces, ratio=RATIO):
    meter = StreamMeter()
    for piece in pieces:
        meter.feed(piece)
    return meter.metered(ratio)


def test_a_whole_stream_is_counted_exactly():
    found = metered(WHOLE)
    assert found.usage == TokenUsage(input_tokens=11, output_tokens=6)
    assert (found.model, found.stop_reason) == ("claude-haiku-4-5", "end_turn")
    assert (found.whole, found.reported, found.estimated) == (True, True, False)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=20))
def test_where_it_was_cut_means_nothing(cuts):
    places = sorted({0, len(WHOLE), *cuts})
    framer, meter = Framer(), StreamMeter()
    for begin, end in itertools.pairwise(places):
        meter.feed(framer.feed(WHOLE[begin:end]))
    assert meter.metered(RATIO) == metered(WHOLE)


@pytest.mark.parametrize(
    ("stream", "usage"),
    [
        pytest.param(
            [start(input_tokens=11, output_tokens=1), last(output_tokens=3), last(output_tokens=6)],
            TokenUsage(input_tokens=11, output_tokens=6),
            id="counts replace, they never add up",
        ),
        pytest.param(
            [start(input_tokens=11, output_tokens=1), last("refusal", output_tokens=0)],
            TokenUsage(input_tokens=11, output_tokens=0),
            id="a refusal takes its token back",
        ),
        pytest.param(
            [start(input_tokens=11, output_tokens=1), last(input_tokens=400, output_tokens=6)],
            TokenUsage(input_tokens=400, output_tokens=6),
            id="searching adds input",
        ),
        pytest.param(
            [start(input_tokens=11), last(input_tokens=None, output_tokens=6)],
            TokenUsage(input_tokens=11, output_tokens=6),
            id="null leaves a count as it is",
        ),
        pytest.param(
            [
                start(
                    input_tokens=1,
                    cache_creation_input_tokens=30,
                    cache_read_input_tokens=50,
                    cache_creation={
                        "ephemeral_5m_input_tokens": 10,
                        "ephemeral_1h_input_tokens": 20,
                    },
                    inference_geo="us",
                ),
                last(output_tokens=6, server_tool_use={"web_search_requests": 2}),
            ],
            TokenUsage(1, 6, 30, 20, 50, 2, "us"),
            id="every kind of token",
        ),
    ],
)
def test_usage_is_the_start_overlaid_by_the_last_delta(stream, usage):
    assert metered(*stream, STOP).usage == usage


def test_output_is_estimated_from_the_text_until_upstream_reports_it():
    found = metered(start(input_tokens=11, output_tokens=0), delta(TEXT))
    assert found.usage == TokenUsage(input_tokens=11, output_tokens=round(tokens_of(TEXT.encode())))
    assert (found.estimated, found.whole) == (True, False)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
def test_an_estimate_is_as_much_larger_as_answers_usually_are(ratio):
    found = metered(start(output_tokens=0), delta(TEXT), ratio=ratio)
    assert found.usage.output_tokens == round(tokens_of(TEXT.encode()) * ratio)


def test_an_estimate_is_never_below_what_was_reported():
    assert metered(start(output_tokens=7), delta("x")).usage.output_tokens == 7


def test_nothing_reported_is_said():
    found = metered(event("ping"))
    assert (found.reported, found.estimated, found.usage) == (False, True, TokenUsage())


def test_an_error_event_is_noted():
    found = metered(start(), event("error", error={"type": "overloaded_error"}))
    assert (found.error_type, found.whole) == ("overloaded_error", False)


@pytest.mark.parametrize(
    "nonsense",
    [
        pytest.param(b"event: message_start\ndata: {\n\n", id="no JSON"),
        pytest.param(event("message_start"), id="no message"),
        pytest.param(event("message_start", message=None), id="message null"),
        pytest.param(start(input_tokens=-1), id="a negative count"),
        pytest.param(start(input_tokens=1.5), id="a fraction"),
        pytest.param(start(input_tokens="7"), id="a string"),
        pytest.param(start(input_tokens=True), id="true"),
        pytest.param(start(input_tokens=COUNT_MAX + 1), id="too much"),
        pytest.param(start(cache_creation=[]) + start(cache_creation=[1]), id="a list"),
        pytest.param(event("message_delta", usage=7), id="usage a number"),
        pytest.param(event("error", error="oh"), id="an error without a type"),
        pytest.param(b"event: message_delta\ndata: " + b"[" * 100_000 + b"\n\n", id="too deep"),
    ],
)
def test_what_cannot_be_read_loses_only_its_own_word(nonsense):
    found = metered(nonsense + last(output_tokens=6) + STOP)
    assert found.whole
    assert found.usage.output_tokens >= 6
    assert found.estimated


@given(st.binary(max_size=300))
def test_a_meter_never_raises(junk):
    meter, answer = StreamMeter(), AnswerMeter(None)
    for name in (b"message_start", b"message_delta", b"content_block_delta", b"error"):
        meter.feed(b"event: " + name + b"\ndata: " + junk + b"\n\n")
    answer.feed(junk)
    assert meter.metered(RATIO).usage.output_tokens >= 0
    assert answer.metered(RATIO).usage.output_tokens >= 0


# --- Answers that are not streamed --------------------------------------------------------------

BODY = json.dumps(
    {
        "model": "claude-haiku-4-5",
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 11, "output_tokens": 6},
    }
).encode()


@pytest.mark.parametrize("size", [1, 7, len(BODY)])
def test_an_answer_is_counted_exactly_when_it_is_whole(size):
    meter = AnswerMeter(len(BODY))
    for place in range(0, len(BODY), size):
        assert not meter.whole
        meter.feed(BODY[place : place + size])
    found = meter.metered(RATIO)
    assert meter.whole
    assert found.usage == TokenUsage(input_tokens=11, output_tokens=6)
    assert (found.model, found.stop_reason, found.estimated) == (
        *("claude-haiku-4-5", "end_turn"),
        False,
    )


def test_an_answer_of_untold_length_is_whole_at_its_end():
    meter = AnswerMeter(None)
    meter.feed(BODY)
    assert not meter.whole
    meter.end()
    assert meter.whole


@pytest.mark.parametrize(
    "body", [b"", BODY[:-1], b"[]", b"{}", b'{"usage":7}', b'{"usage":{"input_tokens":-1}}']
)
def test_an_answer_that_cannot_be_read_is_estimated_from_its_size(body):
    meter = AnswerMeter(len(body))
    meter.feed(body)
    found = meter.metered(RATIO)
    assert found.usage == TokenUsage(output_tokens=round(len(body) / ANSWER_BYTES_PER_TOKEN))
    assert (found.estimated, found.reported) == (True, False)


def test_a_huge_answer_is_not_kept():
    meter = AnswerMeter(None)
    for _chunk in range(17):
        meter.feed(b" " * (ANSWER_BYTES_MAX // 16))
    assert meter.body == b""
    assert meter.metered(RATIO).estimated


def test_overlay_leaves_what_is_not_reported():
    usage = TokenUsage(input_tokens=1, output_tokens=2, cache_read_input_tokens=3)
    assert overlay(usage, {"output_tokens": 9}) == TokenUsage(1, 9, cache_read_input_tokens=3)


ADVICE = {"type": "advisor_message", "model": "claude-opus-4-6"}
SUMMARY = {"type": "compaction"}
ITERATIONS = [
    {"type": "message", "input_tokens": 11, "output_tokens": 6},
    SUMMARY | {"input_tokens": 500, "output_tokens": 40, "cache_read_input_tokens": 3},
    ADVICE | {"input_tokens": 100, "output_tokens": 20},
    ADVICE | {"input_tokens": 100, "output_tokens": 20},
]
BESIDE = (
    ("", TokenUsage(input_tokens=500, output_tokens=40, cache_read_input_tokens=3)),
    ("claude-opus-4-6", TokenUsage(input_tokens=200, output_tokens=40)),
)


def an_answer(**usage):
    meter = AnswerMeter(None)
    meter.feed(json.dumps({"model": "claude-haiku-4-5", "usage": usage}).encode())
    meter.end()
    return meter.metered(RATIO)


def a_stream(**usage):
    return metered(start(input_tokens=11, output_tokens=1), last(**usage), STOP)


@pytest.mark.parametrize("answered", [an_answer, a_stream])
def test_what_is_used_beside_the_answer_is_counted(answered):
    found = answered(input_tokens=11, output_tokens=6, iterations=ITERATIONS)
    assert found.usage == TokenUsage(input_tokens=11, output_tokens=6)
    assert found.beside == BESIDE
    assert found.all_usage == TokenUsage(
        input_tokens=711, output_tokens=86, cache_read_input_tokens=3
    )


@pytest.mark.parametrize("answered", [an_answer, a_stream])
def test_a_model_that_stood_in_is_known(answered):
    stood_in = {"type": "fallback_message", "model": "claude-opus-4-6", "output_tokens": 6}
    found = answered(input_tokens=11, output_tokens=6, iterations=[stood_in])
    assert (found.itemized, found.stood_in, found.beside) == (True, "claude-opus-4-6", ())


def test_the_speed_is_known_to_the_end():
    found = metered(start(input_tokens=11, speed="fast"), last(output_tokens=6), STOP)
    assert found.speed == "fast"


@pytest.mark.parametrize("iterations", ["x", [1], [{"type": "compaction", "input_tokens": "7"}]])
def test_iterations_that_cannot_be_read_make_an_estimate(iterations):
    assert a_stream(output_tokens=6, iterations=iterations).estimated
    assert an_answer(input_tokens=1, output_tokens=6, iterations=iterations).estimated


def block(kind):
    return event("content_block_start", index=0, content_block={"type": kind})


def thought(text, **fields):
    delta = {"type": "thinking_delta", "thinking": text} | fields
    return event("content_block_delta", index=0, delta=delta)


BLOCK_STOP = event("content_block_stop", index=0)


@pytest.mark.parametrize(
    ("events", "hidden"),
    [
        pytest.param([block("thinking")], True, id="it still thinks"),
        pytest.param([block("thinking"), BLOCK_STOP, delta()], True, id="it thought"),
        pytest.param([block("redacted_thinking"), BLOCK_STOP], True, id="it says that it hides it"),
        pytest.param([block("thinking"), thought("Hm."), BLOCK_STOP], False, id="it shows it"),
        pytest.param([block("thinking"), thought("", estimated_tokens=9)], False, id="it counts"),
        pytest.param([block("text"), delta(), BLOCK_STOP], False, id="it did not think"),
    ],
)
def test_thinking_that_nobody_sees_is_noticed(events, hidden):
    assert metered(start(input_tokens=11), *events).hidden is hidden
