"""Waiting for a slot instead of being refused: in turn, for so long and no longer."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.acceptance.developer import a_question
from tests.acceptance.installation import entries_of

SHORT = "[[sim:slow seconds=0.5]] [[sim:tokens=3]]"
LONG = "[[sim:slow seconds=2.5]] [[sim:tokens=3]]"


def test_without_a_wait_the_one_too_many_is_refused(a_developer):
    developer = a_developer(rpm=None, concurrency=1)
    assert sorted(ask_at_once(developer, SHORT, 2)) == [200, 429]


def test_with_a_wait_all_are_answered_one_after_the_other(a_developer):
    developer = a_developer(rpm=None, concurrency=1, wait_s=20)
    began = time.monotonic()
    assert ask_at_once(developer, SHORT, 4) == [200] * 4
    assert time.monotonic() - began >= 2.0
    rows = sorted(entries_of(developer.apikey, 4), key=lambda row: row.admitted_at)
    for earlier, later in itertools.pairwise(rows):
        assert later.admitted_at >= earlier.settled_at


def test_whoever_came_first_is_answered_first(a_developer):
    developer = a_developer(rpm=None, concurrency=1, wait_s=20)
    ended: list[int] = []

    def ask(number: int) -> None:
        time.sleep(0.15 * number)
        assert developer.ask(SHORT).status_code == 200
        ended.append(number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask, range(4)))
    assert ended == [0, 1, 2, 3]


def test_a_wait_ends(a_developer):
    developer = a_developer(rpm=None, concurrency=1, wait_s=1)
    with ThreadPoolExecutor(1) as threads:
        busy = threads.submit(developer.ask, LONG)
        time.sleep(0.5)
        began = time.monotonic()
        refused = developer.ask(SHORT)
        assert refused.status_code == 429
        assert 0.8 < time.monotonic() - began < 2.5
        assert "retry-after" in refused.headers
        assert busy.result().status_code == 200


def test_a_client_that_leaves_gives_up_its_place(a_developer, simulator):
    developer = a_developer(rpm=None, concurrency=1, wait_s=20)
    left = threading.Event()

    def ask_and_leave() -> None:
        url = f"{developer.base_url}/v1/messages"
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url, json=a_question(LONG), headers=developer.headers, timeout=0.5)
        left.set()

    with ThreadPoolExecutor(2) as threads:
        busy = threads.submit(developer.ask, "[[sim:slow seconds=2]] [[sim:tokens=3]]")
        time.sleep(0.3)
        leaving = threads.submit(ask_and_leave)
        left.wait(5)
        began = time.monotonic()
        assert developer.ask(SHORT).status_code == 200
        assert time.monotonic() - began < 3.5  # LONG, had it stayed, would take 2.5 seconds more.
        leaving.result()
        assert busy.result().status_code == 200
    assert len(entries_of(developer.apikey, 2)) == 2


def ask_at_once(developer, prompt, count):
    """Return the statuses of `count` requests sent at once."""
    with ThreadPoolExecutor(count) as threads:
        answers = list(threads.map(lambda _n: developer.ask(prompt), range(count)))
    return [answer.status_code for answer in answers]
