"""Every official SDK reads a kept answer as it reads the original, in either form."""

import json

import pytest

from proxy.core.replay import as_message, as_stream
from tests.acceptance.developer import a_question
from tests.acceptance.scripted_upstream import ANSWER, STREAM, ScriptedUpstream, sized
from tests.unit.proxy.core.answers import (
    CITED,
    REDACTED,
    STOP,
    TEXT,
    THINKING,
    a_message,
    beginning,
    block,
    cited_block,
    ending,
    text_block,
    thinking_block,
)

MESSAGE = a_message(
    THINKING, REDACTED, CITED, TEXT, stop_sequence="END", stop_reason="stop_sequence"
)
WRITTEN = json.dumps(MESSAGE).encode()
STREAMED = (
    beginning()
    + thinking_block(0)
    + block(1, REDACTED)
    + cited_block(2)
    + text_block(3)
    + ending("stop_sequence", stop_sequence="END")
    + STOP
)


@pytest.fixture
def replaying():
    """A server that answers with the bytes it was given."""
    with ScriptedUpstream() as server:
        yield server


@pytest.fixture
def client(sdk, replaying):
    return sdk.client(replaying.url, "sk-cc-any")


def test_a_kept_message_streams_as_if_it_had_been_streamed(client, replaying):
    replaying.script = [STREAM, sized(STREAMED)]
    original = client.stream(**a_question())
    replaying.script = [STREAM, sized(as_stream(WRITTEN, streamed=False))]
    assert client.stream(**a_question()) == original


def test_a_kept_stream_reads_as_if_it_had_not_been_streamed(client, replaying):
    replaying.script = [ANSWER, sized(WRITTEN)]
    original = client.create(**a_question())
    replaying.script = [ANSWER, sized(as_message(STREAMED, streamed=True))]
    assert client.create(**a_question()) == original


def test_nothing_of_it_is_lost(client, replaying):
    replaying.script = [STREAM, sized(as_stream(WRITTEN, streamed=False))]
    message = client.stream(**a_question())
    thinking, redacted, cited, text = message["content"]
    assert (thinking, redacted) == (THINKING, REDACTED)
    assert (cited["citations"], text["text"]) == (CITED["citations"], TEXT["text"])
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")
    assert message["usage"]["output_tokens"] == MESSAGE["usage"]["output_tokens"]


def test_a_message_replays_in_the_order_of_any_stream(client, replaying):
    replaying.script = [STREAM, sized(as_stream(STREAMED, streamed=True))]
    original = [event["type"] for event in client.events(**a_question())]
    replaying.script = [STREAM, sized(as_stream(WRITTEN, streamed=False))]
    replayed = [event["type"] for event in client.events(**a_question())]
    assert _once(replayed) == _once(original)


def _once(names):
    """Leave out repeats: how many pieces a text comes in means nothing."""
    return [name for name, before in zip(names, [None, *names], strict=False) if name != before]
