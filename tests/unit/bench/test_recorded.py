import pytest

from bench.recorded import record


@pytest.mark.parametrize("events", [50, 500])
async def test_a_stream_has_as_many_events_as_it_is_named_for(events):
    answers = await record()
    burst = b"".join(answers[b"burst-%d" % events].pieces)
    assert burst.count(b"\nevent: ") == events
    assert b"".join(answers[b"paced-%d" % events].pieces) == burst


async def test_a_paced_stream_has_a_piece_for_each_event():
    answers = await record()
    assert len(answers[b"paced-50"].pieces) == 50


async def test_a_stalled_stream_never_ends():
    answers = await record()
    assert not answers[b"stalled"].pieces[-1].endswith(b"0\r\n\r\n")
