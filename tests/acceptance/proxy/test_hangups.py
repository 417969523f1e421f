"""A client that hangs up: upstream's call ends at once, or is read to its end if asked."""

import time

import httpx
import pytest

from keys.core.access import Hangup
from tests.acceptance.developer import a_name, a_question
from tests.acceptance.installation import only_entry
from tests.waiting import wait_until

LONG, SHORT = "[[sim:tokens=2000]] [[sim:rate=200]]", "[[sim:tokens=150]] [[sim:rate=100]]"
PATIENCE_S = 0.6


@pytest.fixture
def hang_up(a_developer, simulator):
    """Asks and leaves, after some events or before the first byte.

    Returns what upstream's books and our ledger say, and how long upstream went on in seconds.
    """

    def ask(prompt, *, hangup, streamed, lines):
        developer = a_developer(hangup=hangup, rpm=None, concurrency=1)
        name = a_name()
        headers = developer.headers | {"x-exchange-id": name}
        question = a_question(prompt, stream=streamed, max_tokens=4000)
        left_s = leave(f"{developer.base_url}/v1/messages", question, headers, lines)
        book = simulator.wait_for_entry(lambda e: e["headers"].get("x-exchange-id") == name)
        row = only_entry(developer.apikey)
        assert wait_until(lambda: developer.ask().status_code == 200, seconds=1)
        return book, row, book["ended_at_ms"] / 1000 - left_s

    return ask


def leave(url, question, headers, lines):
    """Ask, read `lines` or wait in vain for the first byte, hang up; return when."""
    try:
        with httpx.stream(
            "POST", url, json=question, headers=headers, timeout=PATIENCE_S
        ) as answer:
            stream = answer.iter_lines()
            for _line in range(lines):
                next(stream)
    except httpx.ReadTimeout:
        assert lines == 0
    return time.time()


@pytest.mark.parametrize("lines", [1, 100])
def test_abort_ends_a_stream_at_once_and_charges_what_came(hang_up, lines):
    book, row, went_on_s = hang_up(LONG, hangup=Hangup.ABORT, streamed=True, lines=lines)
    assert book["outcome"] == "hung_up"
    assert went_on_s < 1
    assert (row.status, row.estimated, row.http_status) == ("hung_up", True, 200)
    assert row.input_tokens == book["usage"]["input_tokens"]
    assert lines // 6 <= row.output_tokens <= 2 * book["output_tokens"] + 10
    assert row.charged_tokens == row.input_tokens + row.output_tokens
    assert row.cost_nanousd > 0


@pytest.mark.parametrize(
    ("prompt", "streamed"),
    [
        pytest.param("[[sim:slow seconds=20]]", True, id="a stream without headers"),
        pytest.param("[[sim:slow seconds=20]]", False, id="an answer without headers"),
        pytest.param(LONG, False, id="an answer that is being written"),
    ],
)
def test_abort_before_the_first_byte_ends_at_once_and_charges_something(hang_up, prompt, streamed):
    book, row, went_on_s = hang_up(prompt, hangup=Hangup.ABORT, streamed=streamed, lines=0)
    assert book["outcome"] == "hung_up"
    assert went_on_s < 1
    assert (row.status, row.estimated) == ("hung_up", True)
    assert 0 < row.input_tokens < 200
    assert row.output_tokens < 400
    assert row.charged_tokens == row.input_tokens + row.output_tokens
    assert row.cost_nanousd > 0


def test_abort_of_an_answer_charges_for_the_time_it_was_written(hang_up):
    _book, row, _ = hang_up(LONG, hangup=Hangup.ABORT, streamed=False, lines=0)
    assert 10 < row.output_tokens < 400


def test_abort_between_headers_and_first_event(hang_up):
    prompt = "[[sim:first-byte-ms=20000]]"
    book, row, went_on_s = hang_up(prompt, hangup=Hangup.ABORT, streamed=True, lines=0)
    assert book["outcome"] == "hung_up"
    assert went_on_s < 1
    assert (row.status, row.estimated) == ("hung_up", True)
    assert 0 < row.charged_tokens < 400


@pytest.mark.parametrize(
    ("prompt", "streamed", "lines"),
    [
        pytest.param(SHORT, True, 1, id="a stream that has begun"),
        pytest.param(SHORT, True, 60, id="a stream in the middle"),
        pytest.param(f"[[sim:slow seconds=1]] {SHORT}", True, 0, id="a stream without headers"),
        pytest.param(f"[[sim:first-byte-ms=1000]] {SHORT}", True, 0, id="a stream without events"),
        pytest.param(SHORT, False, 0, id="an answer"),
    ],
)
def test_drain_reads_on_and_counts_exactly(hang_up, prompt, streamed, lines):
    book, row, _ = hang_up(prompt, hangup=Hangup.DRAIN, streamed=streamed, lines=lines)
    assert book["outcome"] == "finished"
    assert (row.status, row.estimated, row.http_status) == ("hung_up", False, 200)
    assert row.input_tokens == book["usage"]["input_tokens"]
    assert row.output_tokens == book["usage"]["output_tokens"] == 150


@pytest.mark.parametrize("streamed", [True, False])
def test_who_leaves_while_upstream_refuses_is_charged_nothing(hang_up, streamed):
    prompt = "[[sim:status=500]] [[sim:slow seconds=1]]"
    _book, row, _ = hang_up(prompt, hangup=Hangup.DRAIN, streamed=streamed, lines=0)
    assert (row.charged_tokens, row.cost_nanousd) == (0, 0)


def test_thinking_that_nobody_saw_is_charged_by_the_clock(a_developer):
    developer = a_developer(hangup=Hangup.ABORT)
    # It thinks for half a second, 30 tokens at least, and says a few words before its reader goes.
    prompt = "[[sim:stall after=2 seconds=0.5]] [[sim:tokens=2000]] [[sim:rate=200]]"
    hidden = {"type": "enabled", "budget_tokens": 1024, "display": "omitted"}
    with developer.listen(prompt, max_tokens=4000, thinking=hidden) as answer:
        next(line for line in answer.iter_lines() if "text_delta" in line)
    row = only_entry(developer.apikey)
    assert (row.status, row.estimated) == ("hung_up", True)
    assert row.output_tokens >= 30
