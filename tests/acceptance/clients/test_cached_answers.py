"""The second time, every official SDK gets the answer of the first, in whichever form it asks."""

import pytest

from tests.acceptance.developer import a_name, a_question

DELTA = "content_block_delta"
THINKING = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture
def client(sdk, gateway, a_developer):
    """A client of each SDK, with a key that is answered from the cache."""
    developer = a_developer(rpm=None, concurrency=None, cache_enabled=True)
    return sdk.client(gateway.url, developer.secret)


@pytest.fixture(params=["text", "thinking"])
def question(request):
    """A question that nobody has asked before."""
    more = {"max_tokens": 2048, "thinking": THINKING} if request.param == "thinking" else {}
    return a_question(f"{a_name()} [[sim:tokens=40]]", **more)


def said(message):
    """Return what was said, less what some SDKs add of their own."""
    return [
        {name: block.get(name) for name in ("type", "text", "thinking", "signature")}
        for block in message["content"]
    ]


def same(one, other):
    """Return whether two messages are one answer: upstream gives each an id of its own."""
    return (one["id"], said(one), one["stop_reason"], one["usage"]["output_tokens"]) == (
        other["id"],
        said(other),
        other["stop_reason"],
        other["usage"]["output_tokens"],
    )


@pytest.mark.parametrize("first", ["create", "stream"])
@pytest.mark.parametrize("second", ["create", "stream"])
def test_a_kept_answer_is_the_answer(client, question, first, second):
    original = getattr(client, first)(**question)
    assert same(getattr(client, second)(**question), original)


def test_a_replayed_stream_has_every_event(client, question):
    original = client.create(**question)
    events = client.events(**question)
    told = [event["delta"].get("text", "") for event in events if event["type"] == DELTA]
    assert events[0]["message"]["id"] == original["id"]
    assert "".join(told) == original["content"][-1]["text"]
    assert events[-1]["type"] == "message_stop"
