"""Clients that leave after each event there is: one row each, with what they got and no more."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest

from keys.core.access import Hangup
from tests.acceptance.developer import Developer, a_name, a_question, events
from tests.acceptance.installation import only_entry
from tests.waiting import wait_until
from usage import ledger
from usage.models import LedgerEntry

TOOL = {
    "name": "look_up",
    "input_schema": {"type": "object", "properties": {"word": {"type": "string"}}},
}
LONG_INPUT = '{"word":"tide","near":["boat"]}'
STREAMS = {
    "text": {"prompt": "[[sim:tokens=12]]"},
    "thinking": {"prompt": "[[sim:thinking=9]] [[sim:tokens=6]]"},
    "a tool": {"prompt": f"[[sim:tool=look_up input='{LONG_INPUT}']]", "tools": [TOOL]},
}
# Far above what any of these streams holds.
MAX_TOKENS = 4000
AT_ONCE = 8
# By so much a dozen tokens as the simulator counts them, and the name of a tool, may be off.
TOLERANCE_TOKENS = 12


@dataclass(frozen=True, slots=True)
class Left:
    """Who left after how many events: the answer's id, its name in upstream's books, and when."""

    events: int
    request_id: str
    name: str
    at_s: float


@pytest.fixture(params=STREAMS.values(), ids=STREAMS.keys())
def stream(request):
    return dict(request.param)


@pytest.fixture
def everyone_leaves(a_developer, simulator):
    """Sends one client for each event that leaves after it; `stall` says what upstream does then.

    Returns for each: when it left, what upstream's books say, and its rows in the ledger.
    """

    def leave_all(stream, *, hangup, stall):
        developer = a_developer(hangup=hangup, rpm=None, concurrency=None)
        prompt = stream.pop("prompt")
        whole = a_question(prompt, stream=True, max_tokens=MAX_TOKENS, **stream)
        total = len(events(developer.post("/v1/messages", json=whole)))
        places = range(1, total)  # after the last event there is nothing to leave

        def leave(after):
            stalling = f"{prompt} [[sim:stall after={after} {stall}]]"
            question = a_question(stalling, stream=True, max_tokens=MAX_TOKENS, **stream)
            return leave_after(developer, question, after)

        with ThreadPoolExecutor(AT_ONCE) as clients:
            left = list(clients.map(leave, places))
        books = {client.name: book_of(simulator, client) for client in left}
        wait_until(lambda: ledger.drain() or rows_of(developer).count() == total)
        return [(client, books[client.name], row_of(developer, client)) for client in left]

    return leave_all


def leave_after(developer: Developer, question, after: int) -> Left:
    name = a_name()
    headers = developer.headers | {"x-exchange-id": name}
    url = f"{developer.base_url}/v1/messages"
    with httpx.stream("POST", url, json=question, headers=headers, timeout=30) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("data: "))
        for _event in range(after):
            next(lines)
        request_id = answer.headers["request-id"]
    return Left(after, request_id, name, time.time())


def book_of(simulator, left: Left):
    return simulator.wait_for_entry(
        lambda entry: entry["headers"].get("x-exchange-id") == left.name
    )


def rows_of(developer: Developer):
    return LedgerEntry.objects.filter(apikey=developer.apikey)


def row_of(developer: Developer, left: Left) -> LedgerEntry:
    return rows_of(developer).get(exchange_id=left.request_id.removeprefix("req_"))


def test_abort_charges_what_came_and_ends_upstream_within_a_second(everyone_leaves, stream):
    found = everyone_leaves(stream, hangup=Hangup.ABORT, stall="")
    assert len(found) > 10
    assert {row.status for _, _, row in found} == {"hung_up"}
    assert {book["outcome"] for _, book, _ in found} == {"hung_up"}
    assert max(book["ended_at_ms"] / 1000 - left.at_s for left, book, _ in found) < 1
    assert all(row.input_tokens == book["usage"]["input_tokens"] for _, book, row in found)
    assert all(row.charged_tokens == row.input_tokens + row.output_tokens for _, _, row in found)
    assert all(row.input_tokens > 0 and row.cost_nanousd > 0 for _, _, row in found)
    off = [abs(row.output_tokens - book["output_tokens"]) for _, book, row in found]
    assert max(off) <= TOLERANCE_TOKENS
    # The last but one event has upstream's own counts.
    assert [row.estimated for _, _, row in found] == [True] * (len(found) - 1) + [False]


def test_drain_counts_exactly_wherever_the_client_left(everyone_leaves, stream):
    found = everyone_leaves(stream, hangup=Hangup.DRAIN, stall="seconds=2")
    assert {(row.status, row.estimated) for _, _, row in found} == {("hung_up", False)}
    assert {book["outcome"] for _, book, _ in found} == {"finished"}
    assert all(row.input_tokens == book["usage"]["input_tokens"] for _, book, row in found)
    assert all(row.output_tokens == book["usage"]["output_tokens"] for _, book, row in found)


def test_an_estimate_is_never_above_what_was_asked_for(a_developer):
    developer = a_developer(hangup=Hangup.ABORT)
    # Each is one token to the simulator, and two to whoever estimates.
    prompt = f'[[sim:say="{"🎉" * 30}"]] [[sim:stall after=12]]'
    leave_after(developer, a_question(prompt, stream=True, max_tokens=12), 12)
    row = only_entry(developer.apikey)
    assert (row.estimated, row.output_tokens) == (True, 12)
