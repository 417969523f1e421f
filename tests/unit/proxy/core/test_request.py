import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import BadRequest
from proxy.core.request import (
    DECISIVE,
    MODEL_LENGTH_MAX,
    SEARCHED_BYTES_MAX,
    input_bounded,
    parse_body,
    read_count,
    read_messages,
)

QUESTION = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": []}


def a_body(**fields):
    return json.dumps(QUESTION | fields).encode()


def without(name):
    return json.dumps({n: v for n, v in QUESTION.items() if n != name}).encode()


def test_four_things_are_read():
    body = a_body(stream=True, temperature=0.5, brand_new=[1])
    request = read_messages(body)
    assert (request.model, request.max_tokens) == ("claude-haiku-4-5", 9)
    assert (request.streamed, request.body_bytes) == (True, len(body))


@pytest.mark.parametrize(
    ("fields", "streamed"),
    [({}, False), ({"stream": None}, False), ({"stream": False}, False), ({"stream": True}, True)],
)
def test_only_true_streams(fields, streamed):
    assert read_messages(a_body(**fields)).streamed is streamed


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "The request body is not valid JSON", id="nothing"),
        pytest.param(b"{", "The request body is not valid JSON", id="half"),
        pytest.param(b"[" * 2000, "The request body is not valid JSON", id="too deep"),
        pytest.param(b"[]", "The request body must be a JSON object.", id="a list"),
        pytest.param(b"7", "The request body must be a JSON object.", id="a number"),
        pytest.param(without("model"), "model: Field required", id="no model"),
        pytest.param(without("max_tokens"), "max_tokens: Field required", id="no max_tokens"),
        pytest.param(without("messages"), "messages: Field required", id="no messages"),
        pytest.param(a_body(model=None), "model: ", id="model null"),
        pytest.param(a_body(model=1), "model: ", id="model a number"),
        pytest.param(a_body(model=""), "model: ", id="model empty"),
        pytest.param(a_body(model="m" * (MODEL_LENGTH_MAX + 1)), "model: ", id="model too long"),
        pytest.param(a_body(messages={}), "messages: ", id="messages an object"),
        pytest.param(a_body(messages=None), "messages: ", id="messages null"),
        pytest.param(a_body(max_tokens=None), "max_tokens: ", id="max_tokens null"),
        pytest.param(a_body(max_tokens=True), "max_tokens: ", id="max_tokens true"),
        pytest.param(a_body(max_tokens=1.0), "max_tokens: ", id="max_tokens a fraction"),
        pytest.param(a_body(max_tokens="1"), "max_tokens: ", id="max_tokens a string"),
        pytest.param(a_body(max_tokens=-1), "max_tokens: ", id="max_tokens negative"),
        pytest.param(a_body(max_tokens=2**64), "max_tokens: ", id="max_tokens beyond 64 bits"),
        pytest.param(a_body(stream=1), "stream: ", id="stream a number"),
        pytest.param(a_body(stream="true"), "stream: ", id="stream a string"),
    ],
)
def test_what_is_wrong_is_named(body, message):
    with pytest.raises(BadRequest) as refused:
        read_messages(body)
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize("max_tokens", [0, 1, 2**63, 2**64 - 1])
def test_any_count_is_read(max_tokens):
    assert read_messages(a_body(max_tokens=max_tokens)).max_tokens == max_tokens


@pytest.mark.parametrize(
    "second",
    [
        b'"model":"claude-opus-4-6"',
        b'"max_tokens":1',
        rb'"m\u006fdel":"claude-opus-4-6"',
        rb'"\u006d\u006f\u0064\u0065\u006c":"claude-opus-4-6"',
        rb'"max\u005ftokens":1',
        rb'"max\u005Ftokens":1',
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_second_decisive_field_is_refused(second, first):
    once = a_body()[1:-1]
    parts = [second, once] if first else [once, second]
    with pytest.raises(BadRequest, match="given more than once"):
        read_messages(b"{%b}" % b",".join(parts))


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"metadata": {"model": "x", "max_tokens": 1}}, id="deeper down"),
        pytest.param({"system": 'the "model" and the "max_tokens"'}, id="in a text"),
        pytest.param({"tools": [{"enum": ["model", "model"]}]}, id="as a value"),
    ],
)
def test_the_same_word_elsewhere_is_not(fields):
    body = json.dumps({"metadata": {}} | fields | QUESTION).encode()
    assert read_messages(body).model == "claude-haiku-4-5"


def test_an_escape_elsewhere_is_not():
    body = a_body()[:-1] + rb',"system":"plain \u0061"}'
    assert read_messages(body).model == "claude-haiku-4-5"


def test_a_large_body_may_have_the_words_deeper_down_and_escapes():
    tools = [{"name": "n", "input_schema": {"model": '"model"', "tools": "`"}}] * 20_000
    text = json.dumps({"metadata": {}, "tools": tools} | QUESTION)
    escaped = text.replace('\\"', "\\u0022").replace("`", "\\u0060").encode()
    assert len(escaped) > SEARCHED_BYTES_MAX
    assert read_messages(escaped).model == "claude-haiku-4-5"


@pytest.mark.parametrize(
    "twice",
    [
        pytest.param(b'"model":"claude-opus-4-6"', id="outermost"),
        # As many as before: what is lost by the first pair, the text seems to bring back.
        pytest.param(rb'"model":"claude-opus-4-6","a":"\u0022model"', id="made up for"),
        pytest.param(rb'"m\u006fdel":"claude-opus-4-6"', id="hidden"),
    ],
)
def test_a_second_decisive_field_is_refused_in_a_large_body(twice):
    body = b'{%b,"system":"%b",%b}' % (twice, b" " * SEARCHED_BYTES_MAX, a_body()[1:-1])
    with pytest.raises(BadRequest, match="a name twice"):
        read_messages(body)


NAMES = st.sampled_from(["model", "tools", "a", '"model', "u0022model"])
# A text, or an object as pairs: with the same name twice it is no dict.
VALUES = st.recursive(NAMES, lambda inner: st.lists(st.tuples(NAMES, inner), max_size=4))


def written(value, random):
    """Return `value` as JSON, some of whose characters are escapes."""
    if isinstance(value, str):
        chars = (
            f"\\u{ord(char):04x}" if random.random() < 0.1 else json.dumps(char)[1:-1]
            for char in value
        )
        return f'"{"".join(chars)}"'
    pairs = (f"{written(name, random)}:{written(inner, random)}" for name, inner in value)
    return f"{{{random.choice([',', ', ']).join(pairs)}}}"


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5), st.randoms(use_true_random=False))
def test_a_decisive_name_twice_is_always_seen(pairs, random):
    body = written(pairs, random)[:-1] + (',"messages":[]}' if pairs else '"messages":[]}')
    names = [name for name, _value in pairs]
    if any(names.count(name) > 1 for name in DECISIVE):
        with pytest.raises(BadRequest, match="more than once"):
            parse_body(body.encode())
    else:
        assert parse_body(body.encode()).fields.keys() == {*names, "messages"}


def test_counting_needs_no_max_tokens():
    assert read_count(without("max_tokens")) == "claude-haiku-4-5"


@pytest.mark.parametrize("body", [without("model"), without("messages"), b"[]", b"{"])
def test_counting_needs_the_rest(body):
    with pytest.raises(BadRequest):
        read_count(body)


@pytest.mark.parametrize(
    ("body", "bounded"),
    [
        pytest.param(a_body(), True, id="text"),
        pytest.param(a_body(system="an image of a document, 2025"), True, id="words in a text"),
        pytest.param(rb'{"system":"a \u003cb\u003e"}', True, id="other escapes"),
        pytest.param(a_body(messages=[{"type": "image"}]), False, id="a picture"),
        pytest.param(a_body(messages=[{"type": "document"}]), False, id="a document"),
        pytest.param(a_body(container={"id": "x"}), False, id="a container"),
        pytest.param(a_body(mcp_servers=[]), False, id="a connector"),
        pytest.param(a_body(thread={"type": "continue"}), False, id="what upstream remembers"),
        pytest.param(a_body(tools=[{"type": "web_search_20250305"}]), False, id="a server tool"),
        pytest.param(rb'{"type":"im\u0061ge"}', False, id="an escaped picture"),
        pytest.param(rb'{"type":"web_search\u005f20250305"}', False, id="an escaped server tool"),
        pytest.param(rb'{"type":"web_search_2\u0030250305"}', False, id="an escaped digit"),
    ],
)
def test_input_is_bounded_by_the_body_only_without_anything_by_reference(body, bounded):
    assert input_bounded(body) is bounded


OPUS = "claude-opus-4-6"


@pytest.mark.parametrize(
    ("fields", "known"),
    [
        pytest.param({"speed": "fast"}, {"fast": True}, id="speed"),
        pytest.param({"speed": "standard"}, {"fast": False}, id="the usual speed"),
        pytest.param({"fallbacks": [{"model": OPUS}]}, {"fallbacks": (OPUS,)}, id="a fallback"),
        pytest.param(
            {"fallbacks": [{"model": OPUS, "speed": "fast"}]}, {"fast": True}, id="a fast fallback"
        ),
        pytest.param(
            {"fallbacks": [{"model": OPUS, "max_tokens": 9000}]},
            {"max_tokens": 9000},
            id="a fallback that may write more",
        ),
        pytest.param({"fallbacks": "default"}, {"own_fallbacks": True}, id="any fallback"),
        pytest.param(
            {"tools": [{"name": "a"}, {"type": "advisor_20260301", "model": OPUS}]},
            {"advisers": (OPUS,)},
            id="an adviser",
        ),
        pytest.param({"tools": None, "fallbacks": None}, {"advisers": ()}, id="nobody"),
    ],
)
def test_what_else_costs_is_read(fields, known):
    found = read_messages(a_body(**fields))
    assert {name: getattr(found, name) for name in known} == known


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"fallbacks": "claude-opus-4-6"}, id="a word"),
        pytest.param({"fallbacks": ["claude-opus-4-6"]}, id="a list of words"),
        pytest.param({"fallbacks": [{}]}, id="no model"),
        pytest.param({"tools": [{"model": ["claude-opus-4-6"]}]}, id="a list for a model"),
        pytest.param({"fallbacks": [{"model": "claude-opus-4-6"}] * 21}, id="too many fallbacks"),
        pytest.param({"tools": [{"model": "claude-opus-4-6"}] * 21}, id="too many advisers"),
    ],
)
def test_other_models_that_cannot_be_read_are_refused(fields):
    with pytest.raises(BadRequest):
        read_messages(a_body(**fields))


@pytest.mark.parametrize("name", [b"speed", b"fallbacks", b"tools"])
def test_what_else_costs_is_not_given_twice(name):
    body = a_body()[:-1] + b',"%b":null,"%b":null}' % (name, name)
    with pytest.raises(BadRequest, match="more than once"):
        read_messages(body)
