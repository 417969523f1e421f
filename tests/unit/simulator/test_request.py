import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import Refused
from simulator.prompt import segments, total
from simulator.request import VERSIONS, check_version, decode
from tests.unit.simulator.requests import TOOL, a_body, checked

OLD, NEW = VERSIONS
USER = {"role": "user", "content": "hi"}


def without(name):
    return {key: value for key, value in a_body().items() if key != name}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        pytest.param(without("model"), 400, "model: Field required", id="no model"),
        pytest.param(without("messages"), 400, "messages: Field required", id="no messages"),
        pytest.param(without("max_tokens"), 400, "max_tokens: Field required", id="no max_tokens"),
        pytest.param(a_body(model="gpt-9"), 404, "model: gpt-9", id="unknown model"),
        pytest.param(
            a_body(max_tokens=0),
            400,
            "max_tokens: Input should be greater than or equal to 1",
            id="max_tokens 0",
        ),
        pytest.param(
            a_body(max_tokens="9"),
            400,
            "max_tokens: Input should be a valid integer",
            id="max_tokens as text",
        ),
        pytest.param(
            a_body(max_tokens=128001),
            400,
            "max_tokens: 128001 > 128000, which is the maximum allowed number of output tokens "
            "for claude-sonnet-4-6",
            id="max_tokens too large",
        ),
        pytest.param(
            a_body(messages=[]),
            400,
            "messages: at least one message is required",
            id="empty messages",
        ),
        pytest.param(
            a_body(messages=[{"role": "user", "content": [{"type": "text", "text": ""}]}]),
            400,
            "messages: text content blocks must be non-empty",
            id="empty text",
        ),
        pytest.param(
            a_body(messages=[USER, {"role": "assistant", "content": []}, USER]),
            400,
            "messages.1: all messages must have non-empty content except for the optional final "
            "assistant message",
            id="empty message",
        ),
        pytest.param(
            a_body(messages=[{"role": "robot", "content": "hi"}]),
            400,
            'messages: Unexpected role "robot". Allowed roles are "user" or "assistant"',
            id="role",
        ),
        pytest.param(
            a_body(no_such_field=1),
            400,
            "no_such_field: Extra inputs are not permitted",
            id="unknown field",
        ),
        pytest.param(
            a_body(tools=[{"name": "w"}]),
            400,
            "tools.0.custom.input_schema: Field required",
            id="tool without schema",
        ),
        pytest.param(
            a_body(tools=[TOOL], tool_choice={"type": "tool", "name": "other"}),
            400,
            "Tool 'other' not found in provided tools",
            id="chosen tool",
        ),
        pytest.param(
            a_body(thinking={"type": "enabled", "budget_tokens": 1}),
            400,
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
            id="thinking budget",
        ),
        pytest.param(
            a_body(cache_control={"type": "ephemeral", "ttl": []}),
            400,
            "cache_control.ephemeral.ttl: Input should be '5m' or '1h'",
            id="lifetime",
        ),
        pytest.param(
            a_body([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}] * 5),
            400,
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
            id="five breakpoints",
        ),
    ],
)
def test_bad_requests_are_refused_in_anthropic_words(body, status, message):
    with pytest.raises(Refused) as refused:
        checked(body)
    assert (refused.value.status, refused.value.message) == (status, message)


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_the_newest_version_refuses_sampling_even_at_its_default(name):
    with pytest.raises(Refused, match=f"^{name}: Extra inputs are not permitted$"):
        checked(a_body(**{name: 1}), version=NEW)
    assert checked(a_body(**{name: 1}), version=OLD)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(
            {"role": "assistant", "content": [{"type": "document", "source": {}}]}, id="document"
        ),
        pytest.param(
            {"role": "user", "content": [{"type": "text", "text": "a", "citations": [{}]}]},
            id="citations",
        ),
    ],
)
def test_the_newest_version_refuses_some_blocks(message):
    body = a_body(messages=[USER, message])
    assert checked(body, version=OLD)
    with pytest.raises(Refused):
        checked(body, version=NEW)


@pytest.mark.parametrize("version", ["", "2020-01-01"])
def test_a_missing_or_unknown_version_is_refused(version):
    with pytest.raises(Refused, match="anthropic-version"):
        check_version(version)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"1", b'{"a": \xff}'])
def test_a_body_that_is_no_json_object_is_refused(raw):
    with pytest.raises(Refused) as refused:
        decode(raw)
    assert refused.value.status == 400


def test_a_beta_may_bring_unknown_fields():
    assert checked(a_body(no_such_field=1), betas="something-2027-01-01")


def test_counting_needs_no_max_tokens():
    assert checked(without("max_tokens"), counting=True).max_tokens == 0


def test_system_messages_among_the_others_are_accepted():
    body = a_body(messages=[USER, {"role": "system", "content": "be brief"}])
    assert checked(body).text == "hi"


def test_text_as_a_string_and_as_a_block_count_the_same():
    as_block = a_body([{"type": "text", "text": "Hello"}])
    assert total(segments(a_body("Hello"))) == total(segments(as_block)) == 8


def test_automatic_caching_marks_the_last_block():
    found = segments(a_body(cache_control={"type": "ephemeral", "ttl": "1h"}, system="a"))
    assert [segment.ttl for segment in found] == ["", "1h"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "role", "content", "name", "input_schema", "ttl"])
            | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
FIELD = st.sampled_from(
    (
        *("messages", "system", "tools", "tool_choice", "thinking", "stop_sequences"),
        *("cache_control", "output_config", "stream", "metadata", "max_tokens", "model"),
    )
)


@given(st.dictionaries(FIELD, JSON, max_size=3), st.sampled_from(VERSIONS))
def test_any_json_is_counted_or_refused(fields, version):
    with contextlib.suppress(Refused):
        assert total(segments(checked(a_body() | fields, version=version).body)) > 0
