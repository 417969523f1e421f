import json
import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.cache_key import KEYED_BYTES_MAX, LONG_NUMBERS_MAX, cache_key
from proxy.core.request import parse_body

QUESTION = {
    "model": "claude-haiku-4-5",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "hi"}],
}
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def a_body(**fields):
    return json.dumps(QUESTION | fields).encode()


def key(body, headers=(), query=b"", scope="k1.0"):
    return cache_key(parse_body(body), headers=list(headers), query=query, scope=scope)


def exact(value):
    """Return what tells apart all that JSON does: types, forms of numbers, order of lists."""
    match value:
        case dict():
            return frozenset((name, exact(inner)) for name, inner in value.items())
        case list():
            return tuple(map(exact, value))
        case _:
            return type(value).__name__, repr(value)


@st.composite
def changed(draw, value):
    """Return `value` with something in it changed, at any depth."""
    if isinstance(value, list | dict) and value and draw(st.booleans()):
        copy = value.copy()
        at = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        copy[at] = draw(changed(value[at]))
        return copy
    near = [
        [value],
        {"": value},
        *([str(value), float(value)] if isinstance(value, int) else []),
        *([value[::-1], value[1:]] if isinstance(value, list) else []),
        *([value | {"new": None}] if isinstance(value, dict) else []),
    ]
    other = st.sampled_from(near) | VALUES
    return draw(other.filter(lambda new: exact(new) != exact(value)))


def shuffled(value, order):
    match value:
        case dict():
            names = order.sample(list(value), len(value))
            return {name: shuffled(value[name], order) for name in names}
        case list():
            return [shuffled(inner, order) for inner in value]
        case _:
            return value


# --- what changes a key, and what does not ------------------------------------------------------


@given(st.data(), VALUES)
def test_any_change_of_the_body_changes_the_key(data, value):
    other = data.draw(changed(value))
    assert key(a_body(system=value)) != key(a_body(system=other))


@given(st.data())
def test_any_change_of_a_field_changes_the_key(data):
    name = data.draw(st.sampled_from(["messages", "temperature", "tools", "brand_new"]))
    values = st.lists(VALUES, max_size=3) if name == "messages" else VALUES
    one, other = data.draw(values), data.draw(values)
    same = key(a_body(**{name: one})) == key(a_body(**{name: other}))
    assert same == (exact(one) == exact(other))


@given(VALUES, st.randoms(), st.sampled_from([None, 2]), st.booleans())
def test_order_of_names_white_space_and_escapes_do_not(value, order, indent, ascii_only):
    fields = shuffled(QUESTION | {"system": value}, order)
    written = json.dumps(fields, indent=indent, ensure_ascii=ascii_only)
    assert key(written.encode()) == key(orjson.dumps(QUESTION | {"system": value}))


@given(VALUES, st.booleans() | st.none())
def test_neither_do_stream_and_metadata(metadata, stream):
    assert key(a_body(stream=stream, metadata=metadata)) == key(a_body())


@pytest.mark.parametrize("deeper", [{"stream": True}, {"metadata": {}}])
def test_the_same_names_deeper_down_do(deeper):
    assert key(a_body(system=deeper)) != key(a_body(system={}))


@pytest.mark.parametrize("number", [b"1", b"1.0", b'"1"', b"[1]", b"true", b"-1", b"-1.0", b"10"])
def test_forms_of_numbers_do(number):
    forms = [b"1", b"1.0", b'"1"', b"[1]", b"true", b"-1", b"-1.0", b"10"]
    same = [form for form in forms if key(body_with(form)) == key(body_with(number))]
    assert same == [number]


@pytest.mark.parametrize("number", [b"1.0", b"1.00", b"1e0", b"10E-1", b"0.1e+1"])
def test_one_number_in_one_form_has_one_key(number):
    assert key(body_with(number)) == key(body_with(b"1.0"))


def body_with(raw):
    return a_body()[:-1] + b',"x":%b}' % raw


OTHERS = [
    {},
    {"scope": "k1.1"},
    {"scope": "k1.01"},
    {"scope": "t1.0"},
    {"query": b"beta=true"},
    {"query": b"beta"},
    {"headers": [(b"anthropic-version", b"2026-10-21")]},
    {"headers": [(b"anthropic-beta", b"a")]},
    {"headers": [(b"anthropic-beta", b"a,b")]},
    {"headers": [(b"anthropic-beta", b"ab")]},
    {"headers": [(b"anthropic-beta", b"a")], "query": b"b"},
    {"headers": [(b"anthropic-workspace-id", b"a")]},
    {"headers": [(b"anthropic-brand-new", b"a")]},
    {"headers": [(b"anthropic-brand-new", b"b")]},
    {"headers": [(b"anthropic-brand-new", b"a"), (b"anthropic-brand-new", b"b")]},
    {"headers": [(b"anthropic-brand-new", b"b"), (b"anthropic-brand-new", b"a")]},
]


def test_scope_query_version_betas_and_new_headers_are_in_the_key():
    assert len({key(a_body(), **other) for other in OTHERS} - {None}) == len(OTHERS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([], [(b"anthropic-version", b"2023-06-01")]),
        ([], [(b"user-agent", b"curl"), (b"x-api-key", b"secret")]),
        ([], [(b"anthropic-dangerous-direct-browser-access", b"true")]),
        ([], [(b"anthropic-beta", b" ,")]),
        (
            [(b"anthropic-x", b"a"), (b"anthropic-y", b"b")],
            [(b"anthropic-y", b" b"), (b"anthropic-x", b"a ")],
        ),
        ([(b"anthropic-beta", b"a,b")], [(b"anthropic-beta", b"b , a,a")]),
        ([(b"anthropic-beta", b"a,b")], [(b"anthropic-beta", b"b"), (b"anthropic-beta", b"a")]),
    ],
)
def test_headers_that_say_the_same_have_one_key(one, other):
    assert key(a_body(), headers=one) == key(a_body(), headers=other)


def test_it_is_a_whole_sha_256():
    assert len(bytes.fromhex(key(a_body()))) == 32


# --- what has no key ----------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "\\", "a\\", '"', 'a"', 'a\\"', "\\\\"])
TREES = st.recursive(
    NAMES | st.sampled_from([1, None]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(NAMES, inner), max_size=3).map(lambda pairs: ("object", pairs))
    ),
    max_leaves=8,
)


def twice(tree):
    """Return whether any object of `tree` has a name twice."""
    match tree:
        case ("object", pairs):
            names = [name for name, _inner in pairs]
            return len(set(names)) < len(names) or any(twice(inner) for _name, inner in pairs)
        case list():
            return any(map(twice, tree))
        case _:
            return False


def written(tree, escape):
    match tree:
        case ("object", pairs):
            inside = (f"{written(name, escape)}: {written(inner, escape)}" for name, inner in pairs)
            return f"{{{','.join(inside)}}}"
        case list():
            return f"[{','.join(written(inner, escape) for inner in tree)}]"
        case str():
            return f'"{"".join(map(escape, tree))}"'
        case _:
            return json.dumps(tree)


def plainly(character):
    return json.dumps(character)[1:-1]


@given(TREES, st.randoms())
def test_a_name_given_twice_at_any_depth_never_has_a_key(tree, dice):
    def escape(character):
        forms = [plainly(character), f"\\u{ord(character):04x}"]
        return dice.choice(forms)

    found = key(body_with(written(tree, escape).encode()))
    assert found is None or not twice(tree)


@given(TREES)
def test_only_a_name_given_twice_has_no_key(tree):
    found = key(body_with(written(tree, plainly).encode()))
    assert (found is None) == twice(tree)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(body_with(b'1,"x":1'), id="the same twice"),
        pytest.param(body_with(rb'1,"\u0078":2'), id="one escaped"),
        pytest.param(body_with(b'{"y":{"z":1,"z":2}}'), id="deep down"),
        pytest.param(body_with(rb'"\\","x":"\\"'), id="ends in backslashes"),
        pytest.param(body_with(b'1,"metadata":{"a":1,"a":2}'), id="in metadata"),
        pytest.param(body_with(b'1,"stream":true,"stream":false'), id="stream"),
    ],
)
def test_a_name_given_twice_has_no_key(body):
    assert key(body) is None


@pytest.mark.parametrize(
    "number",
    [
        b"18446744073709551616",
        b"-9223372036854775809",
        b"100000000000000000000000",
        b"0.30000000000000004441",
        b"9007199254740993.0",
        b"9007199254740993e0",
        b"1234567890123.45678901",
        b"0.0000000000000000e99999999999999999999999",
        b"0." + b"1" * 500,
    ],
)
def test_a_number_with_more_digits_than_are_read_has_no_key(number):
    assert key(body_with(number)) is None


@pytest.mark.parametrize(
    "number",
    [
        b"18446744073709551615",
        b"-9223372036854775808",
        b"0.30000000000000004",
        b"1.7976931348623157e308",
        b"1000000000000000.0",
        b"0.10000000000000000",
        b'"18446744073709551616"',
        rb'"\"18446744073709551616"',
        rb'"\\\": 18446744073709551616, \\"',
    ],
)
def test_a_long_number_that_is_read_whole_has_one(number):
    assert key(body_with(b" " + number)) is not None


def test_more_long_numbers_than_are_looked_at_have_none():
    number = b"1000000000000000.0"
    assert key(body_with(b"[%b]" % b", ".join([number] * LONG_NUMBERS_MAX)))
    assert key(body_with(b"[%b]" % b", ".join([number] * (LONG_NUMBERS_MAX + 1)))) is None


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"container": "c1"}, id="a container"),
        pytest.param({"mcp_servers": [{"name": "x"}]}, id="a connector"),
        pytest.param({"thread": {"id": "x"}}, id="a thread"),
        pytest.param({"messages": [{"source": {"type": "url", "url": "x"}}]}, id="a picture"),
    ],
)
def test_what_changes_behind_its_name_has_none(fields):
    assert key(a_body(**fields)) is None


@pytest.mark.parametrize(
    "fields",
    [{"container": None}, {"mcp_servers": []}, {"system": '"type":"url"'}, {"x": {"type": "URL"}}],
)
def test_what_only_looks_like_it_has_one(fields):
    assert key(a_body(**fields)) is not None


def test_a_header_that_stays_here_decides_nothing():
    headers = [(b"anthropic-beta", b"a"), (b"connection", b"close, Anthropic-Beta")]
    assert key(a_body(), headers=headers) is None


def test_a_body_too_deep_to_be_written_has_none():
    assert key(body_with(b"[" * 900 + b"]" * 900)) is None


def test_a_body_too_large_to_be_hashed_on_the_way_has_none():
    spare = KEYED_BYTES_MAX - len(a_body(system=""))
    assert key(a_body(system="x" * spare)) is not None
    assert key(a_body(system="x" * (spare + 1))) is None


def test_the_official_sdks_bodies_need_no_second_look():
    body = json.dumps(QUESTION, separators=(",", ":"), ensure_ascii=False).encode()
    assert parse_body(body).plain
    assert not parse_body(a_body()).plain


def test_a_name_given_twice_is_not_made_up_for_by_longer_numbers():
    body = orjson.dumps(QUESTION)[:-1] + b',"x":1,"x":2,"y":1E6}'
    assert len(orjson.dumps(orjson.loads(body))) == len(body)
    assert not parse_body(body).plain
    assert key(body) is None


@given(st.lists(st.tuples(TEXT, LEAVES), max_size=3), st.randoms())
def test_a_plain_body_has_no_name_twice(pairs, dice):
    doubled = pairs + dice.sample(pairs, len(pairs) // 2)
    inside = ",".join(f"{written(name, plainly)}:{json.dumps(value)}" for name, value in doubled)
    body = body_with(b"{%b}" % inside.encode()).replace(b": ", b":").replace(b", ", b",")
    assert not (parse_body(body).plain and len(dict(doubled)) < len(doubled))


def test_shuffling_shuffles():
    """The property above would hold of anything otherwise."""
    fields = {str(n): n for n in range(20)}
    assert list(shuffled(fields, random.Random(1))) != list(fields)
