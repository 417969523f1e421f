import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.meter import StreamMeter
from proxy.core.replay import PIECES_MAX, as_message, as_stream, storable
from proxy.core.sse import frames, parse
from tests.unit.proxy.core.answers import (
    CITED,
    PING,
    REDACTED,
    STOP,
    TEXT,
    THINKING,
    TOOL,
    USAGE,
    a_message,
    beginning,
    block,
    cited_block,
    delta,
    ending,
    event,
    text_block,
    thinking_block,
)

WHOLE = beginning() + PING + text_block() + ending() + STOP


def written(message):
    return json.dumps(message).encode()


def read(events):
    return [json.loads(parse(frame)[1]) for frame in frames(events)]


def names(events):
    return [parse(frame)[0].decode() for frame in frames(events)]


# --- what may be kept ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(WHOLE, id="a text"),
        pytest.param(WHOLE.replace(b"\n", b"\r\n"), id="with carriage returns"),
        pytest.param(WHOLE.replace(b": ", b":"), id="without blanks"),
        pytest.param(WHOLE.replace(b"}\n\n", b"   }\n\n"), id="padded"),
        pytest.param(
            beginning() + thinking_block() + block(1, REDACTED) + cited_block(2) + ending() + STOP,
            id="all kinds of blocks",
        ),
        pytest.param(beginning() + ending() + STOP, id="nothing to say"),
        pytest.param(beginning() + text_block() + ending("max_tokens") + STOP, id="cut short"),
        pytest.param(beginning() + text_block() + ending("stop_sequence") + STOP, id="stopped"),
        pytest.param(beginning() + text_block() + ending() * 2 + STOP, id="ended twice"),
    ],
)
def test_a_whole_answer_may_be_kept(events):
    assert storable(events, streamed=True)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(WHOLE[:-1], id="the last byte is missing"),
        pytest.param(WHOLE.removesuffix(STOP), id="no end"),
        pytest.param(WHOLE.replace(ending(), b""), id="no reason to end"),
        pytest.param(WHOLE.removeprefix(beginning()), id="no beginning"),
        pytest.param(beginning() + WHOLE, id="two beginnings"),
        pytest.param(WHOLE + STOP, id="something after the end"),
        pytest.param(WHOLE + b"event: ", id="something begins after the end"),
        pytest.param(WHOLE + event("error", error={"type": "overloaded_error"}), id="an error"),
        pytest.param(WHOLE.replace(PING, event("error", error={})), id="an error on the way"),
        pytest.param(WHOLE.replace(PING, event("brand_new")), id="an unknown event"),
        pytest.param(WHOLE.replace(b"event: message_stop", b"event: x"), id="two names"),
        pytest.param(WHOLE.replace(PING, b": hello\n\n"), id="a comment"),
        pytest.param(WHOLE.replace(PING, b"data: {}\n\n"), id="no name"),
        pytest.param(WHOLE.replace(PING, b"event: x\ndata: {\n\n"), id="no JSON"),
        pytest.param(beginning() + text_block(1) + ending() + STOP, id="a block is missing"),
        pytest.param(beginning() + text_block()[:-60] + ending() + STOP, id="a block is open"),
        pytest.param(
            beginning() + text_block() + delta(0, "text_delta", text="x") + ending() + STOP,
            id="a delta of no block",
        ),
        pytest.param(
            beginning() + block(0, TEXT, {"kind": "brand_new_delta"}) + ending() + STOP,
            id="an unknown delta",
        ),
        pytest.param(
            WHOLE.replace(b'"index": 0, "delta"', b'"index": 1, "delta"'), id="another's delta"
        ),
        pytest.param(
            beginning()
            + block(0, TEXT, {"kind": "thinking_delta", "thinking": "x"})
            + ending()
            + STOP,
            id="a delta of another kind",
        ),
        pytest.param(
            beginning() + block(0, TEXT, {"kind": "text_delta", "text": None}) + ending() + STOP,
            id="a delta without text",
        ),
        pytest.param(beginning() + block(0, TOOL) + ending() + STOP, id="a tool call"),
        pytest.param(
            beginning() + block(0, {"type": "brand_new"}) + ending() + STOP, id="an unknown block"
        ),
        *(
            pytest.param(beginning() + text_block() + ending(reason) + STOP, id=str(reason))
            for reason in ("tool_use", "pause_turn", "refusal", "brand_new", None)
        ),
        pytest.param(beginning(type="error") + text_block() + ending() + STOP, id="no message"),
        pytest.param(written(a_message()), id="not a stream"),
    ],
)
def test_any_other_stream_may_not(events):
    assert not storable(events, streamed=True)


@pytest.mark.parametrize(
    "content",
    [[TEXT], [CITED], [THINKING, TEXT], [REDACTED, TEXT], [TEXT | {"citations": None}], []],
)
def test_a_whole_message_may_be_kept(content):
    assert storable(written(a_message() | {"content": content}), streamed=False)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="a list"),
        pytest.param(written(a_message())[:-1], id="the last byte is missing"),
        pytest.param(WHOLE, id="a stream"),
        pytest.param(written({"type": "error", "error": {}}), id="an error"),
        pytest.param(written(a_message(error={"type": "api_error"})), id="an error inside"),
        pytest.param(written(a_message(TOOL)), id="a tool call"),
        pytest.param(written(a_message(TEXT, {"type": "server_tool_use"})), id="a server tool"),
        pytest.param(written(a_message({"type": "mcp_tool_use"})), id="a connector"),
        pytest.param(written(a_message({"type": "text"})), id="a text without text"),
        pytest.param(written(a_message({"type": "text", "text": None})), id="null for text"),
        pytest.param(written(a_message(TEXT | {"citations": "x"})), id="strange citations"),
        pytest.param(written(a_message(THINKING | {"signature": 1})), id="a strange signature"),
        pytest.param(written(a_message({"type": ["text"]})), id="a strange type"),
        pytest.param(written(a_message(stop_reason="tool_use")), id="ended by a tool"),
        pytest.param(written(a_message(stop_reason="refusal")), id="a refusal"),
        pytest.param(written(a_message(stop_reason=None)), id="not ended"),
        pytest.param(written(a_message(content="x")), id="strange content"),
        pytest.param(written(a_message(usage=None)), id="no usage"),
        pytest.param(written(a_message(usage={"output_tokens": "1"})), id="strange usage"),
        pytest.param(written(a_message(role="user")), id="not the assistant's"),
    ],
)
def test_any_other_message_may_not(body):
    assert not storable(body, streamed=False)


@given(st.integers(0, len(WHOLE) - 1))
def test_no_part_of_a_stream_may_be_kept(size):
    assert not storable(WHOLE[:size], streamed=True)


# --- streams replayed ---------------------------------------------------------------------------


def test_a_stream_replays_as_it_was_less_its_pings():
    assert as_stream(PING + WHOLE + PING, streamed=True) == WHOLE.replace(PING, b"")


def test_a_text_that_speaks_of_pings_is_not_cut():
    text = {"kind": "text_delta", "text": 'event: ping\ndata: {"type": "ping"}\n\n'}
    events = beginning() + block(0, {"type": "text", "text": ""}, text) + ending() + STOP
    assert as_stream(events, streamed=True) == events


def test_a_stream_becomes_the_message_it_tells():
    events = beginning() + thinking_block() + block(1, REDACTED) + cited_block(2) + text_block(3)
    found = json.loads(as_message(events + ending() + STOP, streamed=True))
    assert found == a_message(THINKING, REDACTED, CITED, TEXT)


def test_what_only_the_end_knows_is_in_the_message():
    end = event(
        "message_delta",
        delta={"stop_reason": "end_turn", "stop_sequence": None, "container": {"id": "c"}},
        usage={"input_tokens": 400, "output_tokens": 60, "cache_read_input_tokens": None},
        context_management={"applied_edits": []},
    )
    found = json.loads(as_message(beginning() + text_block() + end + STOP, streamed=True))
    assert (found["container"], found["context_management"]) == ({"id": "c"}, {"applied_edits": []})
    assert (found["usage"]["input_tokens"], found["usage"]["cache_read_input_tokens"]) == (
        400,
        2048,
    )


def test_counts_replace_and_never_add_up():
    ends = [
        event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": n})
        for n in (3, 6)
    ]
    found = json.loads(as_message(beginning() + b"".join(ends) + STOP, streamed=True))
    assert found["usage"]["output_tokens"] == 6


# --- messages replayed --------------------------------------------------------------------------


def test_a_message_replays_as_it_was():
    body = written(a_message())
    assert as_message(body, streamed=False) is body


def test_a_message_becomes_a_whole_sequence_of_events():
    events = as_stream(written(a_message({"type": "text", "text": "Hi!"})), streamed=False)
    assert names(events) == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_it_begins_empty_and_knows_what_went_in():
    start = read(as_stream(written(a_message(container={"id": "c"})), streamed=False))[0]["message"]
    assert (start["content"], start["stop_reason"], start["container"]) == ([], None, None)
    assert (start["usage"]["cache_read_input_tokens"], start["usage"]["output_tokens"]) == (2048, 1)
    assert "output_tokens_details" not in start["usage"]


def test_it_ends_with_totals():
    end = read(as_stream(written(a_message(container={"id": "c"})), streamed=False))[-2]
    assert end["delta"] == {
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "container": {"id": "c"},
    }
    assert end["usage"] == {
        "input_tokens": 11,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 2048,
        "output_tokens": 60,
        "output_tokens_details": {"thinking_tokens": 20},
    }


@pytest.mark.parametrize(
    ("block", "kinds"),
    [
        (TEXT, ["text_delta"] * 3),
        (THINKING, ["thinking_delta", "signature_delta"]),
        (THINKING | {"thinking": ""}, ["signature_delta"]),
        (REDACTED, []),
        (CITED, ["text_delta", "citations_delta"]),
    ],
)
def test_a_block_comes_in_the_deltas_of_its_kind(block, kinds):
    events = read(as_stream(written(a_message(block)), streamed=False))
    assert [
        event["delta"]["type"] for event in events if "index" in event and "delta" in event
    ] == kinds


def test_a_text_comes_in_pieces_that_end_with_a_word():
    events = read(as_stream(written(a_message()), streamed=False))
    pieces = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert pieces == [
        "Hello! It is a fine day —",
        " a very fine one — 👩‍👩‍👧",
        " for everybody.\n\nYes.",
    ]


@pytest.mark.parametrize("text", ["x" * 100_000, "many words " * 10_000, "\n" * 50_000])
def test_a_long_text_comes_in_a_bounded_number_of_pieces(text):
    events = read(as_stream(written(a_message({"type": "text", "text": text})), streamed=False))
    assert len(events) <= PIECES_MAX + 5


# --- there and back -----------------------------------------------------------------------------

STRINGS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=200)
EXTRAS = st.dictionaries(st.sampled_from(["new", "newer"]), STRINGS | st.none() | st.integers(0, 9))
CITATIONS = st.none() | st.lists(st.fixed_dictionaries({"cited_text": STRINGS}), max_size=3)
BLOCKS = st.one_of(
    st.builds(lambda **f: {"type": "text"} | f, text=STRINGS),
    st.builds(lambda **f: {"type": "text"} | f, text=STRINGS, citations=CITATIONS),
    st.builds(lambda **f: {"type": "thinking"} | f, thinking=STRINGS, signature=STRINGS),
    st.builds(lambda **f: {"type": "redacted_thinking"} | f, data=STRINGS),
).flatmap(lambda block: EXTRAS.map(lambda extra: extra | block))
USAGES = st.dictionaries(
    st.sampled_from([*USAGE, "iterations", "new"]),
    st.none() | st.integers(0, 10**9) | st.dictionaries(STRINGS, st.integers(0, 9), max_size=2),
).flatmap(lambda usage: st.integers(0, 10**9).map(lambda n: usage | {"output_tokens": n}))
MESSAGES = st.builds(
    lambda content, usage, extra, **fields: (
        extra | a_message(usage=usage, **fields) | {"content": content}
    ),
    st.lists(BLOCKS, max_size=4),
    USAGES,
    st.dictionaries(
        st.sampled_from(["container", "context_management", "stop_details", "new"]),
        st.none() | st.fixed_dictionaries({"id": STRINGS}),
    ),
    stop_reason=st.sampled_from(["end_turn", "stop_sequence", "max_tokens"]),
    stop_sequence=st.none() | STRINGS,
)


@given(MESSAGES)
def test_a_message_survives_the_way_there_and_back(message):
    events = as_stream(written(message), streamed=False)
    assert json.loads(as_message(events, streamed=True)) == message
    assert storable(events, streamed=True)


@given(MESSAGES)
def test_a_replayed_stream_meters_as_the_message_says(message):
    usage = USAGE | {"output_tokens": message["usage"]["output_tokens"]}
    meter = StreamMeter()
    meter.feed(as_stream(written(message | {"usage": usage}), streamed=False))
    found = meter.metered(4.0)
    assert (found.usage.output_tokens, found.whole, found.estimated) == (
        usage["output_tokens"],
        True,
        False,
    )
