"""Floods from strangers and from key holders: the right statuses, bounded look-ups, flat memory.

That a malformed key costs no look-up at all is shown where there is no database
(test_stores_away.py).
"""

import contextlib
import itertools
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from keys.core.secret import compose
from tests.acceptance.raw_http import head, pipeline
from tests.waiting import wait_until

MIB = 1024 * 1024
REQUESTS = 10_000
LOOKUPS_PER_S_MAX = 50  # As the settings have it when nobody says otherwise.

_strangers = itertools.count(10**12)


@pytest.fixture(scope="module")
def memory_grows(gateway):
    """Tells by how many bytes the gateway has grown since the module began."""
    # The first requests of a kind fill pools and caches that stay.
    pipeline(gateway.port, (asking_with(f"sk-cc-{number}") for number in range(1000)))
    before = gateway.memory_bytes()
    return lambda: gateway.memory_bytes() - before


@pytest.fixture(autouse=True)
def calm(gateway):
    """Waits until the flood of the test before has passed."""

    def looked_up():
        return pipeline(gateway.port, [asking_with(a_stranger(next(_strangers)))]) == {401: 1}

    wait_until(looked_up, seconds=3)


def asking_with(key, address="203.0.113.1"):
    return head("GET", "/v1/models", f"x-api-key: {key}", f"x-forwarded-for: {address}")


def a_stranger(number):
    return compose(f"{number:032d}").text


def test_malformed_keys_are_refused_each_and_every_one(gateway, memory_grows):
    requests = (asking_with(a_stranger(number)[:-1] + "!") for number in range(REQUESTS))
    assert pipeline(gateway.port, requests) == {401: REQUESTS}
    wait_until(lambda: memory_grows() < 8 * MIB)


def test_strangers_cost_a_bounded_number_of_lookups(gateway, memory_grows):
    began_s = time.monotonic()
    requests = (asking_with(a_stranger(number)) for number in range(REQUESTS))
    statuses = pipeline(gateway.port, requests)
    seconds = time.monotonic() - began_s
    assert set(statuses) == {401, 503}
    # Who is refused for good was looked up; the others are told to come again.
    assert 0 < statuses[401] <= LOOKUPS_PER_S_MAX * (seconds + 2)
    wait_until(lambda: memory_grows() < 8 * MIB)


def test_strangers_of_one_address_leave_lookups_to_others(a_developer, tuned_gateway):
    port, flooded = tuned_gateway.port, Counter()
    invented = [asking_with(a_stranger(10**10 + number)) for number in range(REQUESTS)]
    # In one connection, so that one of the two workers has it all; which one, nobody knows.
    with ThreadPoolExecutor(1) as thread:
        flood = thread.submit(lambda: flooded.update(pipeline(port, invented)))
        answered = Counter()
        while not flood.done():
            fresh = asking_with(a_developer().secret, "203.0.113.2")
            answered += pipeline(port, [fresh])
    assert flooded[503] > REQUESTS // 2
    assert set(answered) == {200}


def test_a_stranger_is_looked_up_once_a_second(gateway):
    requests = [asking_with(a_stranger(10**9))] * 1000
    assert pipeline(gateway.port, requests) == {401: 1000}


def test_a_known_key_goes_on_beside_a_flood(developer, gateway):
    assert developer.ask().status_code == 200
    pipeline(gateway.port, (asking_with(a_stranger(number)) for number in range(200, 500)))
    assert developer.ask().status_code == 200


def test_wrong_bodies_leave_nothing_behind(developer, gateway, memory_grows):
    lines = f"x-api-key: {developer.secret}", "content-length: 1000"
    wrong = head("POST", "/v1/messages", *lines) + b"{" * 1000
    assert pipeline(gateway.port, [wrong] * 2000) == {400: 2000}
    wait_until(lambda: memory_grows() < 8 * MIB)


def test_a_new_key_is_looked_up_once_for_all_who_come_with_it(a_developer, gateway):
    request = asking_with(a_developer(rpm=None, concurrency=None).secret)
    with contextlib.ExitStack() as open_until_here:
        crowd = [
            open_until_here.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            for _ in range(3 * LOOKUPS_PER_S_MAX)
        ]
        for connection in crowd:
            connection.sendall(request)
        statuses = Counter(connection.recv(12) for connection in crowd)
    assert statuses == {b"HTTP/1.1 200": len(crowd)}
