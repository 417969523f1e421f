"""Streams as a client sees them: whole, paced, silent and broken."""

import json
import time

import httpx
import pytest

from tests.acceptance.developer import events
from tests.acceptance.installation import ledger_entry


def data(answer, name):
    """The data of the last event of that name."""
    frames = [frame for frame in answer.text.split("\n\n") if frame.startswith(f"event: {name}\n")]
    return json.loads(frames[-1].split("\ndata: ", 1)[1])


def said(answer):
    """The text of a stream."""
    frames = [frame.split("data: ", 1)[1] for frame in answer.text.split("\n\n") if frame]
    deltas = [json.loads(frame).get("delta", {}) for frame in frames]
    return "".join(delta.get("text", "") for delta in deltas)


def settled(answer):
    return ledger_entry(answer.headers["request-id"])


@pytest.mark.parametrize("write_bytes", [1, 7, 100_000])
def test_where_upstream_cuts_its_writes_means_nothing(developer, write_bytes):
    text = "Grüße, 世界, 👋!"
    answer = developer.ask(f"[[sim:say='{text}']] [[sim:split={write_bytes}]]", stream=True)
    assert said(answer) == text
    assert events(answer)[-1] == "message_stop"


def test_events_are_passed_on_as_they_come(developer):
    with developer.listen("[[sim:tokens=60]] [[sim:rate=30]]") as answer:
        came_s = [time.monotonic() for _line in answer.iter_lines()]
    assert came_s[-1] - came_s[0] > 1.5


def test_an_error_of_upstreams_in_the_middle_comes_through(developer):
    answer = developer.ask("[[sim:error after=5 type=overloaded_error]]", stream=True)
    assert answer.status_code == 200
    assert events(answer)[-2:] == ["content_block_delta", "error"]
    assert data(answer, "error")["error"]["type"] == "overloaded_error"
    assert settled(answer).status == "upstream_error"


@pytest.mark.parametrize("after", [1, 3, 10])
def test_a_cut_stream_ends_with_an_error_event(developer, after):
    answer = developer.ask(f"[[sim:cut after={after}]]", stream=True)
    assert answer.status_code == 200
    assert len(events(answer)) == after + 1
    assert answer.text.endswith("\n\n")
    error = data(answer, "error")
    assert (error["type"], error["error"]["type"]) == ("error", "api_error")
    assert error["request_id"] == answer.headers["request-id"]


def test_a_cut_stream_is_charged_for_what_came(developer):
    answer = developer.ask("[[sim:cut after=100]] [[sim:tokens=500]]", stream=True)
    entry = settled(answer)
    assert (entry.status, entry.http_status, entry.estimated) == ("upstream_error", 200, True)
    assert entry.input_tokens == data(answer, "message_start")["message"]["usage"]["input_tokens"]
    assert 50 <= entry.output_tokens <= 200


def test_a_cut_answer_is_no_whole_answer(developer):
    with pytest.raises(httpx.RemoteProtocolError):
        developer.ask("[[sim:cut after=1]] [[sim:tokens=500]]")


def test_silence_is_filled_with_pings_between_events(developer):
    prompt = "[[sim:stall after=4 seconds=2.5]] [[sim:say=done]]"
    answer = developer.ask(prompt, stream=True)
    names = events(answer)
    assert names[4:6] == ["ping", "ping"]
    assert names[-1] == "message_stop"
    assert said(answer) == "done"


def test_silence_before_the_first_event_is_filled_too(developer):
    answer = developer.ask("[[sim:first-byte-ms=1600]]", stream=True)
    assert events(answer)[:2] == ["ping", "message_start"]


def test_a_stream_silent_for_too_long_ends_with_an_error_event(developer):
    answer = developer.ask("[[sim:stall after=4]]", stream=True)
    assert events(answer)[-1] == "error"
    assert data(answer, "error")["error"]["type"] == "api_error"
    assert settled(answer).status == "upstream_error"


def test_an_answer_silent_for_too_long_is_502(developer):
    answer = developer.ask("[[sim:slow seconds=60]]")
    assert answer.status_code == 502
    assert answer.json()["error"]["type"] == "api_error"


def test_many_message_deltas_are_not_added_up(developer):
    answer = developer.ask("[[sim:tokens=90]] [[sim:deltas=5]]", stream=True)
    entry = settled(answer)
    assert entry.output_tokens == data(answer, "message_delta")["usage"]["output_tokens"] == 90
    assert not entry.estimated


def test_a_refusal_takes_its_first_token_back(developer):
    answer = developer.ask("[[sim:refusal]]", stream=True)
    assert data(answer, "message_start")["message"]["usage"]["output_tokens"] == 1
    assert settled(answer).output_tokens == 0
