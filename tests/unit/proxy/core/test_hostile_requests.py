"""Bodies and headers that no client should send: the reader refuses or returns, in bounded time and
memory, and what goes on is well-formed.
"""

import json
import re
import time
import tracemalloc
from ipaddress import ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.call import Call
from proxy.core import request
from proxy.core.errors import BadRequest
from proxy.core.forwarded import ADDRESS_LENGTH_MAX, parse_address
from proxy.core.headers import downstream_headers, upstream_headers
from proxy.core.request import VALUES_MAX, input_bounded, read_count, read_messages

# A machine that is busy with other things is no fault of what is tested.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
MIB = 1024 * 1024
HOSTILE_VALUES = [
    *(b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"9" * 5000, b"-0", b"1E1", b"0x1"),
    *(rb'"\ud800"', rb'"\udc00\ud800"', b'"\xed\xa0\x80"', b'"\xff"', b'"\0"', rb'"\u0000"'),
    *(b"[" * 1025, b'{"model":' * 1025, b"[" * 1000 + b"]" * 1000, b"\xef\xbb\xbf{}", b"//", b""),
]
NAMES = [
    *(b'"model"', b'"max_tokens"', b'"messages"', b'"stream"', rb'"\u006dodel"', rb'"mod\u0065l"'),
    *(rb'"max\u005ftokens"', rb'"m\u006Fdel"', b'"\xff"', b"model", rb'"\ud83dmodel"', b'"a"'),
]
valid_values = st.sampled_from([b'"claude-haiku-4-5"', b"[]", b"[{}]", b"9", b"true", b"null"])
body_values = st.recursive(
    st.one_of(valid_values, st.sampled_from(HOSTILE_VALUES), st.binary(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: b"[%b]" % b",".join(items)),
        st.lists(st.tuples(st.sampled_from(NAMES), inner), max_size=5).map(
            lambda pairs: b"{%b}" % b",".join(b"%b:%b" % pair for pair in pairs)
        ),
    ),
    max_leaves=12,
)
GOOD = b'"model":"claude-haiku-4-5","max_tokens":9,"messages":[]'


def read_or_refuse(read, body):
    try:
        return read(body)
    except BadRequest as error:
        return error


@unhurried
@given(st.one_of(st.binary(max_size=60), body_values))
def test_a_reader_returns_or_refuses(body):
    found = read_or_refuse(read_messages, body)
    assert isinstance(found, BadRequest) or 0 < len(found.model) <= 256
    assert isinstance(read_or_refuse(read_count, body), str | BadRequest)
    assert isinstance(input_bounded(body), bool)


@unhurried
@given(body_values, st.sampled_from(NAMES))
def test_what_is_read_is_what_any_reader_would_read(value, name):
    # Wherever else a decisive name is, in whatever writing: no other reader gets another value.
    found = read_or_refuse(read_messages, b"{%b,%b:%b}" % (GOOD, name, value))
    again = read_or_refuse(read_messages, b"{%b:%b,%b}" % (name, value, GOOD))
    for read in (found, again):
        assert isinstance(read, BadRequest) or (read.model, read.max_tokens) == (
            "claude-haiku-4-5",
            9,
        )


@pytest.mark.parametrize("depth", [1, 5, 100, 500])
@pytest.mark.parametrize("name", [b"model", b"max_tokens"])
def test_a_name_twice_deeper_down_is_none_of_our_business(depth, name):
    twice = b'{"%b":1,"%b":2}' % (name, name)
    nested = b'{"x":' * depth + twice + b"}" * depth
    body = b'{%b,"metadata":%b}' % (GOOD, nested)
    assert read_messages(body).model == "claude-haiku-4-5"


@pytest.mark.parametrize("value", HOSTILE_VALUES, ids=lambda value: repr(value[:12]))
def test_a_hostile_value_does_not_hide_a_second_model(value):
    body = b'{"metadata":%b,"model":"a",%b}' % (value, GOOD)
    assert isinstance(read_or_refuse(read_messages, body), BadRequest)


@pytest.mark.parametrize("piece", [b"[],", b"{},", b'"aa",', b"1e1,", b'{"a":1},', b"[[[[]]]],"])
def test_many_small_values_are_refused_before_they_are_made(piece):
    body = b'{%b,"metadata":[%b0]}' % (GOOD, piece * (32 * MIB // len(piece)))
    tracemalloc.start()
    began_s = time.process_time()
    with pytest.raises(BadRequest, match=f"more than {VALUES_MAX} values"):
        read_messages(body)
    took_s = time.process_time() - began_s
    _now, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < MIB
    assert took_s < 2


def test_a_large_picture_is_read():
    picture = b"QUJD" * (8 * MIB)
    body = b'{%b,"metadata":"%b"}' % (GOOD, picture[: 31 * MIB])
    assert read_messages(body).max_tokens == 9


def test_as_many_values_as_a_model_could_read_are_read():
    body = b'{%b,"metadata":[%b0]}' % (GOOD, b"100," * (VALUES_MAX - 10))
    assert len(body) > request.WEIGHED_BYTES_MIN
    assert read_messages(body).max_tokens == 9


TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
# What the server's parser lets through.
names = st.one_of(
    st.sampled_from(
        [b"connection", b"content-length", b"transfer-encoding", b"x-api-key", b"host", b"x-hop"]
    ),
    st.from_regex(TOKEN, fullmatch=True).filter(lambda name: len(name) < 80),
)
header_values = st.one_of(
    st.sampled_from([b"close", b"x-api-key, x-hop", b",,, ,", b"chunked", b"\xff\xfe", b""]),
    st.binary(max_size=20).map(lambda value: bytes(b for b in value if b >= 32 and b != 127)),
)
PRIVATE = {b"x-api-key", b"authorization", b"cookie", b"host", b"content-length"}
HOP = {b"connection", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"keep-alive"}


@unhurried
@given(st.lists(st.tuples(names, header_values), max_size=8))
def test_neither_secrets_nor_framing_go_up(headers):
    sent = upstream_headers(headers, [(b"x-api-key", b"ours")])
    assert [value for name, value in sent if name in PRIVATE] == [b"ours"]
    assert not {name for name, _value in sent} & HOP
    assert sum(name == b"anthropic-version" for name, _value in sent) >= 1


@unhurried
@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=8))
def test_any_headers_of_upstreams_can_be_looked_at(headers):
    came = downstream_headers(headers)
    assert not {name for name, _value in came} & (HOP | {b"set-cookie", b"retry-after"})


def a_call(headers):
    scope = {"method": "POST", "path": "/v1/messages", "query_string": b"", "headers": headers}
    return Call(scope | {"client": ("127.0.0.1", 1)}, None, None)


@unhurried
@given(st.binary(max_size=300))
def test_any_header_becomes_storable_text(value):
    text = a_call([(b"user-agent", value)]).text(b"user-agent")
    assert len(text) <= 200
    assert text.isprintable()
    assert json.loads(json.dumps(text)) == text


@unhurried
@given(st.lists(st.binary(max_size=50), max_size=4))
def test_any_forwarding_gives_an_address(values):
    trusted = (ip_network("127.0.0.0/8"), ip_network("::/0"))
    assert a_call([(b"x-forwarded-for", value) for value in values]).address(trusted) is not None


def test_an_endless_address_is_not_remembered():
    parse_address.cache_clear()
    trusted = (ip_network("127.0.0.0/8"),)
    tracemalloc.start()
    for number in range(300):
        a_call([(b"x-forwarded-for", b"%d" % number + b"x" * 60_000)]).address(trusted)
    now, _most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert now < 300 * ADDRESS_LENGTH_MAX * 10
