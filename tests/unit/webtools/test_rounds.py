"""The stream that is made of rounds is one that Anthropic could have sent."""

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.replay import as_message
from proxy.core.sse import frames, parse
from webtools.core.rounds import BadRound, Result, Rounds, Use, first_body, next_body

OURS = ("web_search", "web_extract")
ABOUT = {"rounds": 1}


def frame(event: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))


def a_text(*pieces: str) -> dict[str, Any]:
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return {"block": {"type": "text", "text": ""}, "deltas": deltas}


def a_thought(text: str, signature: str) -> dict[str, Any]:
    deltas = [
        {"type": "thinking_delta", "thinking": text},
        {"type": "signature_delta", "signature": signature},
    ]
    return {"block": {"type": "thinking", "thinking": "", "signature": ""}, "deltas": deltas}


def a_call(number: int, name: str = "web_search", *pieces: str) -> dict[str, Any]:
    block = {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}}
    return {
        "block": block,
        "deltas": [{"type": "input_json_delta", "partial_json": piece} for piece in pieces],
    }


def a_round(*blocks: dict[str, Any], stop: str = "end_turn", tokens: int = 5, pings: int = 0):
    message = {"type": "message", "role": "assistant", "id": "msg_1", "model": "m", "content": []}
    usage = {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 2}
    ending = {"stop_reason": None, "stop_sequence": None}
    events = [{"type": "message_start", "message": message | ending | {"usage": usage}}]
    for index, block in enumerate(blocks):
        events += [{"type": "ping"}] * pings
        start = {"type": "content_block_start", "index": index, "content_block": block["block"]}
        deltas = [
            {"type": "content_block_delta", "index": index, "delta": delta}
            for delta in block["deltas"]
        ]
        events += [start, *deltas, {"type": "content_block_stop", "index": index}]
    delta = {"stop_reason": stop, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": tokens}})
    events.append({"type": "message_stop"})
    return [frame(event) for event in events]


def play(*rounds: list[bytes]) -> tuple[Rounds, bytes]:
    merged, sent = Rounds(OURS), b""
    for events in rounds:
        merged.next_round()
        for event in events:
            sent += merged.feed(event)
    return merged, sent


def events_of(stream: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(parse(one)[1]) for one in frames(stream)]


def test_an_answer_without_calls_is_passed_on():
    merged, sent = play(a_round(a_text("Hel", "lo")))
    assert merged.uses == []
    *body, delta, stop = events_of(sent + merged.finish(ABOUT))
    assert body == events_of(b"".join(a_round(a_text("Hel", "lo"))))[:-2]
    assert (delta["delta"]["stop_reason"], delta["claudcode"]) == ("end_turn", ABOUT)
    assert stop == {"type": "message_stop"}


def test_a_call_is_run_and_not_shown():
    call = a_call(1, "web_search", '{"query": "tea', 'pots"}')
    first = a_round(a_text("I look."), call, stop="tool_use", tokens=7)
    merged, sent = play(first)
    assert merged.uses == [Use("toolu_1", "web_search", {"query": "teapots"})]
    assert b"toolu_1" not in sent
    assert merged.content == [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "web_search", "input": {"query": "teapots"}},
    ]
    merged.next_round()
    sent += b"".join(merged.feed(event) for event in a_round(a_text("Found."), tokens=3))
    events = events_of(sent + merged.finish(ABOUT))
    assert [e["type"] for e in events].count("content_block_start") == 1
    told = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert told == ["I look.", "\n\n", "Found."]
    usage = events[-2]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (20, 10)
    assert usage["cache_read_input_tokens"] == 4


def test_thinking_goes_back_with_its_signature():
    merged, _sent = play(a_round(a_thought("Hm.", "c2ln"), a_call(1), stop="tool_use"))
    assert merged.content[0] == {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        ((), {}),
        (("{}",), {}),
        (('{"a"', ":1}"), {"a": 1}),
        (("[1]",), None),
        (("{nonsense",), None),
    ],
)
def test_arguments_are_what_claude_wrote(pieces, arguments):
    merged, _sent = play(a_round(a_call(1, "web_search", *pieces), stop="tool_use"))
    assert merged.uses == [Use("toolu_1", "web_search", arguments)]


def test_calls_of_a_round_that_ended_otherwise_are_not_run():
    merged, _sent = play(a_round(a_call(1), stop="max_tokens"))
    assert merged.uses == []


def test_an_error_reaches_the_client():
    error = frame({"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}})
    merged, sent = play([*a_round(a_text("Hm"))[:3], error])
    assert merged.error == ("overloaded_error", "Busy")
    assert sent.endswith(error)


@pytest.mark.parametrize(
    "events",
    [
        [b"event: message_start\ndata: nonsense\n\n"],
        [frame({"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta"}})],
        [frame({"type": "content_block_start", "index": 1, "content_block": {"type": "text"}})],
    ],
)
def test_nonsense_is_told(events):
    with pytest.raises(BadRound):
        play(events)


def test_the_next_request_has_what_was_said_and_found():
    body = first_body({"model": "m", "messages": [{"role": "user", "content": "?"}]}, [{"name": 1}])
    use = Use("toolu_1", "web_search", {})
    content = [{"type": "text", "text": "I look."}]
    following = orjson.loads(
        next_body(body, content, [Result(use, "Nothing.", failed=True)], last=True)
    )
    assert following["stream"] is True
    assert following["messages"][1:] == [
        {"role": "assistant", "content": content},
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": "Nothing.",
                    "is_error": True,
                }
            ],
        },
    ]
    assert following["tool_choice"] == {"type": "none"}


# --- any rounds ----------------------------------------------------------------------------------

BLOCKS = st.one_of(
    st.lists(st.text(max_size=5), max_size=4).map(lambda pieces: a_text(*pieces)),
    st.text(max_size=5).map(lambda text: a_thought(text, "c2ln")),
)
ROUNDS = st.lists(
    st.tuples(
        st.lists(BLOCKS, max_size=3), st.integers(0, 3), st.integers(0, 9), st.integers(0, 2)
    ),
    min_size=1,
    max_size=4,
)


@given(ROUNDS)
def test_any_rounds_make_one_message(drawn):
    played = []
    for position, (blocks, calls, tokens, pings) in enumerate(drawn):
        last = position == len(drawn) - 1
        made = [] if last else [a_call(number) for number in range(calls)]
        stop = "end_turn" if last else "tool_use"
        played.append(a_round(*blocks, *made, stop=stop, tokens=tokens, pings=pings))
    merged, sent = play(*played)
    stream = sent + merged.finish(ABOUT)
    names = [event["type"] for event in events_of(stream)]
    assert (names.count("message_start"), names.count("message_stop")) == (1, 1)
    # The reader that guards the response cache takes nothing but a whole, orderly message.
    message = orjson.loads(as_message(stream, streamed=True))
    assert message == merged.message(ABOUT)
    kinds = [[block["block"]["type"] for block in blocks] for blocks, *_rest in drawn]
    told = [round_kinds for round_kinds in kinds if round_kinds]
    joined = sum(one[-1] == two[0] == "text" for one, two in pairwise(told))
    assert len(message["content"]) == sum(map(len, kinds)) - joined
    assert message["usage"]["output_tokens"] == sum(tokens for _b, _c, tokens, _p in drawn)
    assert message["usage"]["input_tokens"] == 10 * len(drawn)
