"""However an exchange ends, nothing of it stays in the gateway's memory."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from keys.core.access import Hangup
from tests.acceptance.developer import a_question
from tests.acceptance.raw_http import head, pipeline
from tests.factories import a_spec
from tests.waiting import wait_until

MIB = 1024 * 1024
BODY_BYTES = 8 * MIB
CALLS = 10
# The allocator keeps the room of a few bodies for the next; ten that stay would be 80 MiB.
GROWTH_BYTES_MAX = 40 * MIB


@pytest.fixture
def memory_stays_flat(gateway):
    """Runs something once, then many times, and holds the gateway to the memory it had between."""

    def run(something, times, growth_bytes_max):
        something(0)
        before = gateway.memory_bytes()
        for number in range(1, times + 1):
            something(number)
        wait_until(lambda: gateway.memory_bytes() - before < growth_bytes_max)

    return run


@pytest.mark.parametrize(
    ("prompt", "streamed"),
    [
        pytest.param("Hello!", False, id="answered"),
        pytest.param("Hello!", True, id="streamed"),
        pytest.param("[[sim:status=400]]", False, id="refused by upstream"),
        pytest.param("[[sim:status=500]]", False, id="failed upstream"),
        pytest.param("[[sim:status=529]]", True, id="upstream overloaded"),
        pytest.param("[[sim:cut after=0]]", False, id="upstream silent"),
        pytest.param("[[sim:cut after=5]]", False, id="an answer cut"),
        pytest.param("[[sim:cut after=5]]", True, id="a stream cut"),
        pytest.param("[[sim:error after=5]]", True, id="an error in the middle"),
    ],
)
def test_no_body_stays(a_developer, memory_stays_flat, prompt, streamed):
    body = json.dumps(a_question(prompt, stream=streamed)).encode().ljust(BODY_BYTES)

    developer = a_developer(rpm=None)

    def ask(_number):
        with contextlib.suppress(httpx.RemoteProtocolError):
            developer.post("/v1/messages", content=body)

    memory_stays_flat(ask, CALLS, GROWTH_BYTES_MAX)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param({"budgets": [a_spec(limit=0)]}, id="denied"),
        pytest.param({"models": ["claude-opus-4-6"]}, id="forbidden"),
    ],
)
def test_no_body_stays_of_who_is_not_let_in(a_developer, memory_stays_flat, key):
    developer = a_developer(**key)
    body = json.dumps(a_question()).encode().ljust(BODY_BYTES)
    memory_stays_flat(
        lambda _number: developer.post("/v1/messages", content=body), CALLS, GROWTH_BYTES_MAX
    )


@pytest.mark.parametrize("hangup", list(Hangup))
def test_no_body_stays_of_clients_that_hang_up(a_developer, memory_stays_flat, hangup):
    developer = a_developer(rpm=None, concurrency=None, hangup=hangup)
    body = json.dumps(a_question("[[sim:slow seconds=1]]")).encode().ljust(BODY_BYTES)

    def hang_up(_number):
        with contextlib.suppress(httpx.ReadTimeout):
            developer.post("/v1/messages", content=body, timeout=0.5)

    def hang_up_all(_number):
        with ThreadPoolExecutor(3) as crowd:
            list(crowd.map(hang_up, range(3)))

    memory_stays_flat(hang_up_all, 3, GROWTH_BYTES_MAX)


@pytest.mark.parametrize("prompt", ["Hello!", "[[sim:status=500]]"])
def test_no_body_of_a_count_stays(developer, memory_stays_flat, prompt):
    body = json.dumps(a_question(prompt)).encode().ljust(BODY_BYTES)

    def count(_number):
        developer.post("/v1/messages/count_tokens", content=body)

    memory_stays_flat(count, CALLS, GROWTH_BYTES_MAX)


@pytest.mark.parametrize("prompt", ["Hello!", "[[sim:status=400]]", "[[sim:status=500]]"])
def test_no_odd_header_stays(developer, gateway, memory_stays_flat, prompt):
    body = json.dumps(a_question(prompt)).encode()

    def ask(number):
        odd = f"x-{number}-{'n' * 50_000}: 1"
        lines = f"x-api-key: {developer.secret}", f"content-length: {len(body)}", odd
        pipeline(gateway.port, [head("POST", "/v1/messages", *lines) + body])

    # Twenty megabytes of names.
    memory_stays_flat(ask, 400, 8 * MIB)
