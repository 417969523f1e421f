import json

import pytest

from simulator.composer import Composer
from simulator.frames import frames, message_json
from simulator.marks import Script, apply, find
from simulator.prompt_cache import CacheUse
from simulator.usage import SEARCH_RESULT_TOKENS, Usage
from tests.unit.simulator.requests import TOOL, a_body, checked


def composed(text):
    script = apply(find(text), Script())
    usage = Usage(10, CacheUse(read=5, written_5m=3), web_searches=script.web_searches)
    request = checked(a_body(text, tools=[TOOL]))
    return Composer(seed=1).compose(request, script, usage, "msg_1"), script


def streamed(text):
    answer, script = composed(text)
    return [
        json.loads(frame.decode().split("data: ", 1)[1])
        for frame, _ in frames(
            answer,
            tokens_per_event=script.tokens_per_event,
            message_deltas=script.message_deltas,
        )
    ]


def names(events):
    return [event["type"] for event in events]


def test_the_sequence_of_a_short_answer():
    assert names(streamed("[[sim:tokens=2]]")) == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_an_event_line_names_what_the_data_says():
    answer, _ = composed("[[sim:tokens=2]]")
    first, _ = next(frames(answer, tokens_per_event=1, message_deltas=1))
    assert first.startswith(b'event: message_start\ndata: {"type":"message_start",')
    assert first.endswith(b"\n\n")


def test_tokens_can_share_an_event():
    events = streamed("[[sim:tokens=10]] [[sim:chunk=4]]")
    assert names(events).count("content_block_delta") == 3


def test_thinking_ends_with_its_signature():
    deltas = [
        event["delta"]["type"]
        for event in streamed("[[sim:thinking=2]]")
        if "index" in event and "delta" in event and event["index"] == 0
    ]
    assert deltas == ["thinking_delta", "thinking_delta", "signature_delta"]


def test_partial_json_joins_to_the_input():
    parts = [
        event["delta"]["partial_json"]
        for event in streamed("[[sim:tool]]")
        if event["type"] == "content_block_delta" and "partial_json" in event["delta"]
    ]
    assert json.loads("".join(parts)) == {"city": "simulated"}


def test_message_deltas_are_cumulative():
    deltas = [
        event
        for event in streamed("[[sim:tokens=9]] [[sim:deltas=3]]")
        if event["type"] == "message_delta"
    ]
    assert [delta["usage"]["output_tokens"] for delta in deltas] == [3, 6, 9]
    assert [delta["delta"]["stop_reason"] for delta in deltas] == [None, None, "end_turn"]


def test_a_refusal_takes_the_first_token_back():
    events = streamed("[[sim:refusal]]")
    assert events[0]["message"]["usage"]["output_tokens"] == 1
    assert events[-2]["usage"]["output_tokens"] == 0
    assert events[-2]["delta"]["stop_details"]["type"] == "refusal"


def test_searching_adds_input_at_the_end():
    events = streamed("[[sim:web-search=2]]")
    assert events[0]["message"]["usage"]["input_tokens"] == 10
    assert events[-2]["usage"]["input_tokens"] == 10 + 2 * SEARCH_RESULT_TOKENS
    assert events[-2]["usage"]["server_tool_use"]["web_search_requests"] == 2


@pytest.mark.parametrize(
    "text", ["hi", "[[sim:thinking]] [[sim:tool]]", "[[sim:refusal]]", "[[sim:web-search]]"]
)
def test_streamed_or_not_the_usage_is_the_same(text):
    answer, _ = composed(text)
    events = streamed(text)
    overlaid = events[0]["message"]["usage"] | events[-2]["usage"]
    assert overlaid == json.loads(message_json(answer))["usage"]


def test_usage_has_every_field():
    usage = json.loads(message_json(composed("[[sim:tokens=4]]")[0]))["usage"]
    assert usage == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 3,
        "cache_read_input_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 4,
        "service_tier": "standard",
        "inference_geo": "global",
    }
