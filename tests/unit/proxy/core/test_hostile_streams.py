"""Streams that no upstream should send: the bytes pass, the meter never raises, and it never calls
exact what it could not read.
"""

import itertools
import json
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from proxy.core.meter import COUNT_MAX, AnswerMeter, StreamMeter
from proxy.core.sse import FRAME_BYTES_MAX, Framer, frames

# A machine that is busy with other things is no fault of what is tested.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
RATIO = 4.0
NAMES = ["message_start", "content_block_delta", "message_delta", "message_stop", "error", "ping"]
HOSTILE_NUMBERS = [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"1e40", b"9" * 5000, b"-1", b"1.5"]
LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
BOM = b"\xef\xbb\xbf"

values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**30), 10**30),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(["\0", "\ud800", "claude\0haiku", "\u2028", "x" * 1000]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["usage", "message", "input_tokens", "output_tokens", "delta", "type"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)
counts = st.dictionaries(
    st.sampled_from(
        ["input_tokens", "output_tokens", "cache_creation", "server_tool_use", "inference_geo"]
    ),
    st.one_of(st.integers(0, 100), values),
)
messages = st.one_of(values, st.fixed_dictionaries({"model": values, "usage": counts}))
data_of_events = st.one_of(
    st.binary(max_size=50),
    st.sampled_from(HOSTILE_NUMBERS).map(
        lambda n: b'{"message":{"usage":{"input_tokens":%b,"output_tokens":%b}}}' % (n, n)
    ),
    st.sampled_from([b"[" * 3000, b'{"message":' * 2000, b'{"usage":{"a":1},"usage":[]}', b""]),
    st.builds(
        lambda message, usage, delta: json.dumps(
            {"message": message, "usage": usage, "delta": delta, "error": delta}
        ).encode(),
        messages,
        counts,
        values,
    ),
)


@st.composite
def streams(draw):
    """Something like events, with any line ends, and garbage between them."""
    pieces = [draw(st.sampled_from([b"", BOM]))]
    for _event in range(draw(st.integers(0, 6))):
        end = draw(LINE_ENDS)
        name = draw(st.one_of(st.sampled_from(NAMES).map(str.encode), st.binary(max_size=9)))
        pieces += [b"event: ", name, end, b"data: ", draw(data_of_events), end, draw(LINE_ENDS)]
        pieces.append(draw(st.one_of(st.just(b""), st.binary(max_size=9))))
    return b"".join(pieces)


@st.composite
def cut(draw, data):
    """The data in pieces, cut anywhere."""
    whole = draw(data)
    places = draw(st.lists(st.integers(0, len(whole)), max_size=12))
    return [whole[a:b] for a, b in itertools.pairwise(sorted({0, *places, len(whole)}))]


def run(chunks):
    framer, meter = Framer(), StreamMeter()
    passed = []
    for chunk in chunks:
        passed.append(framer.feed(chunk))
        meter.feed(passed[-1])
    return passed, framer, meter


line_ends_mixed = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"data: x", b"\xff"]), max_size=30
).map(b"".join)


@unhurried
@given(cut(st.one_of(line_ends_mixed, streams(), st.binary(max_size=200))))
def test_what_comes_out_is_what_went_in(chunks):
    passed, framer, _meter = run(chunks)
    assert b"".join(passed) + framer.rest == b"".join(chunks)


@unhurried
@given(cut(line_ends_mixed))
def test_what_is_held_back_has_no_blank_line_in_it(chunks):
    _passed, framer, _meter = run(chunks)
    assert len(frames(b"." + framer.rest.rstrip(b"\r\n") + b".")) <= 1


@unhurried
@given(cut(streams()))
@example([b"event: message_start\ndata: " + b"[" * 100_000 + b"\n\n"])
def test_a_meter_never_raises_and_its_counts_are_counts(chunks):
    _passed, _framer, meter = run(chunks)
    found = meter.metered(RATIO)
    usage = found.usage
    assert 0 <= usage.input_tokens <= COUNT_MAX
    assert 0 <= usage.output_tokens <= COUNT_MAX
    for word in (found.model, found.error_type, found.stop_reason, usage.inference_geo):
        assert len(word) <= 256
        assert word.isprintable()


@unhurried
@given(cut(st.one_of(data_of_events, messages.map(lambda m: json.dumps(m).encode()))))
def test_an_answers_meter_never_raises(chunks):
    meter = AnswerMeter(None)
    for chunk in chunks:
        meter.feed(chunk)
    meter.end()
    found = meter.metered(RATIO)
    assert found.model.isprintable()
    assert found.usage.output_tokens >= 0


START = b'event: message_start\ndata: {"message":{"model":"m","usage":{"input_tokens":11}}}\n\n'
DELTA = b'event: content_block_delta\ndata: {"delta":{"text":"' + b"a" * 40 + b'"}}\n\n'
LAST = b'event: message_delta\ndata: {"usage":{"output_tokens":23}}\n\n'
STOP = b"event: message_stop\ndata: {}\n\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"\r"])
def test_any_line_ends_are_read(end, blank):
    stream = (START + DELTA + LAST + STOP).replace(b"\n\n", b"|").replace(b"\n", end)
    # An LF after a CR is no line of its own.
    stream = stream.replace(b"|", end + (end if (end, blank) == (b"\r", b"\n") else blank))
    passed, _framer, meter = run([stream[n : n + 1] for n in range(len(stream))] + [b": end"])
    found = meter.metered(RATIO)
    assert len([piece for piece in passed if piece.strip(b"\r\n")]) == 4
    assert (found.usage.input_tokens, found.usage.output_tokens) == (11, 23)
    assert (found.whole, found.estimated) == (True, False)


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(BOM + START + DELTA + LAST + STOP, id="a byte order mark"),
        pytest.param(DELTA + LAST + STOP, id="no start"),
        pytest.param(START.replace(b"11", b"null") + DELTA + LAST + STOP, id="no input"),
        pytest.param(START.replace(b"input", b"other") + DELTA + LAST + STOP, id="other counts"),
        pytest.param(START + DELTA + LAST.replace(b"output", b"input") + STOP, id="no output"),
        pytest.param(START + DELTA + LAST.replace(b"23", b"null") + STOP, id="output null"),
        pytest.param(START + LAST + START + DELTA + STOP, id="a second start"),
        pytest.param(START + DELTA + LAST.replace(b"23", b"23" + b"0" * 20), id="too many"),
        pytest.param(START + DELTA + LAST.replace(b"23", b"1e400") + STOP, id="infinite"),
        pytest.param(START + DELTA + LAST.replace(b"{", b"[" * 2000, 1) + STOP, id="too deep"),
        pytest.param(START + DELTA + LAST.replace(b'"out', b'\xff"out') + STOP, id="no UTF-8"),
    ],
)
def test_what_could_not_be_read_is_estimated(stream):
    _passed, _framer, meter = run([stream])
    found = meter.metered(RATIO)
    assert found.estimated
    assert found.usage.output_tokens >= 10


@pytest.mark.parametrize(
    "usage", [b"{}", b'{"input_tokens":1}', b'{"output_tokens":1}', b'{"input_tokens":null}', b"[]"]
)
def test_an_answer_that_does_not_state_both_counts_is_estimated(usage):
    meter = AnswerMeter(None)
    meter.feed(b'{"usage":%b}' % usage)
    assert meter.metered(RATIO).estimated


def test_a_word_with_a_nul_can_be_kept():
    stream = START.replace(b'"m"', rb'"claude\u0000\u0007haiku"')
    assert run([stream])[2].metered(RATIO).model == "claudehaiku"


@pytest.mark.parametrize("endless", [b"x", b"\r\n:", b"data: y\n"])
def test_an_event_in_a_million_pieces_costs_no_more_than_its_bytes(endless):
    framer, passed = Framer(), 0
    began_s = time.process_time()
    for _piece in range(FRAME_BYTES_MAX // len(endless)):
        passed += len(framer.feed(endless))
    assert passed + len(framer.rest) == FRAME_BYTES_MAX // len(endless) * len(endless)
    # Copied at each piece, it would take minutes.
    assert time.process_time() - began_s < 20
