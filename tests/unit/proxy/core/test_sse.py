import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import sse
from proxy.core.sse import FRAME_BYTES_MAX, Framer, frames, parse

EVENTS = [
    b"event: message_start\ndata: {}\n\n",
    b"event: ping\ndata: {}\n\n",
    "event: content_block_delta\ndata: {“Grüße, 世界 👋”}\n\n".encode(),
    b": a comment\n\n",
    b"data: [DONE]\n\n",
]
LF = b"".join(EVENTS)
CRLF = LF.replace(b"\n", b"\r\n")


def fed(chunks):
    """What a framer returns for each chunk, and the framer."""
    framer = Framer()
    return [framer.feed(chunk) for chunk in chunks], framer


def cut(data, cuts):
    places = sorted({0, len(data), *(place % len(data) for place in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def test_whole_events_pass_at_once():
    assert fed([LF])[0] == [LF]


@pytest.mark.parametrize("stream", [LF, CRLF], ids=["LF", "CRLF"])
def test_byte_by_byte_each_event_comes_whole(stream):
    given_back, framer = fed(stream[place : place + 1] for place in range(len(stream)))
    whole = [piece for piece in given_back if piece]
    assert whole == [e if stream is LF else e.replace(b"\n", b"\r\n") for e in EVENTS]
    assert framer.rest == b""


@given(st.sampled_from([LF, CRLF]), st.lists(st.integers(0, 10_000), max_size=20))
def test_where_it_is_cut_means_nothing(stream, cuts):
    given_back, framer = fed(cut(stream, cuts))
    assert b"".join(given_back) + framer.rest == stream
    assert all(piece == b"" or piece.endswith((b"\n\n", b"\r\n\r\n")) for piece in given_back)


def test_an_unfinished_event_is_held_back():
    given_back, framer = fed([EVENTS[0] + EVENTS[1][:9]])
    assert given_back == [EVENTS[0]]
    assert framer.rest == EVENTS[1][:9]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("lost", range(5))
def test_after_a_huge_event_events_are_whole_again(end, lost):
    huge = b"data: " + b"x" * (FRAME_BYTES_MAX + 10) + end
    stream = huge + LF
    # The cut falls before, into and after the mark of the end.
    place = len(huge) - lost
    given_back, framer = fed([huge[:100], huge[100:-20], stream[len(huge) - 20 : place]])
    assert b"".join(given_back) == stream[:place]
    assert framer.framed is (lost == 0)
    assert framer.feed(stream[place:-5]) == stream[place : -len(EVENTS[-1])]
    assert framer.framed
    assert framer.rest == EVENTS[-1][:-5]


def test_a_huge_event_is_not_held_back_for_ever():
    framer = Framer()
    for _chunk in range(5):
        framer.feed(b"x" * FRAME_BYTES_MAX)
    assert framer.rest == b""


@pytest.mark.parametrize("stream", [LF, CRLF], ids=["LF", "CRLF"])
def test_events_are_cut_at_their_blank_lines(stream):
    assert frames(stream) == [event[:-2] for event in EVENTS]


@pytest.mark.parametrize(
    ("frame", "parsed"),
    [
        pytest.param(b"event: ping\ndata: {}", (b"ping", b"{}"), id="both"),
        pytest.param(b"data: {}\nevent: ping", (b"ping", b"{}"), id="the other way round"),
        pytest.param(b"event:ping\ndata:{}", (b"ping", b"{}"), id="without blanks"),
        pytest.param(b"data:  two blanks", (b"message", b" two blanks"), id="one blank is dropped"),
        pytest.param(b"data: a\ndata: b", (b"message", b"a\nb"), id="two lines of data"),
        pytest.param(b": comment", (b"message", b""), id="a comment"),
        pytest.param(b"id: 7\nretry: 9\ndata: x", (b"message", b"x"), id="fields nobody needs"),
        pytest.param(b"event", (b"", b""), id="a field without a value"),
    ],
)
def test_a_frame_has_a_name_and_data(frame, parsed):
    assert parse(frame) == parsed


def test_our_ping_is_one_event():
    assert [parse(frame)[0] for frame in frames(sse.PING)] == [b"ping"]
