"""The headers that every answer carries, and those of upstream's that none does."""

import datetime as dt
import re
import time

import httpx
import pytest

from tests.acceptance.developer import a_question
from tests.factories import a_spec

RPM, TOKENS = 50, 100_000
LIMITED = {"rpm": RPM, "concurrency": None, "budgets": [a_spec(limit=TOKENS)]}
CASES = [
    pytest.param("POST", "/v1/messages", {"json": a_question()}, 200, id="a message"),
    pytest.param("POST", "/v1/messages", {"json": a_question(stream=True)}, 200, id="a stream"),
    pytest.param("POST", "/v1/messages/count_tokens", {"json": a_question()}, 200, id="a count"),
    pytest.param("GET", "/v1/models", {}, 200, id="models"),
    pytest.param("GET", "/v1/models/claude-haiku-4-5", {}, 200, id="a model"),
    pytest.param("GET", "/v1/key-status", {}, 200, id="a status"),
    pytest.param("POST", "/v1/messages", {"content": b"?"}, 400, id="400"),
    pytest.param("POST", "/v1/messages", {"json": a_question(model="no")}, 403, id="403"),
    pytest.param("GET", "/v1/models/no", {}, 404, id="404"),
    pytest.param("GET", "/v1/nothing", {}, 404, id="404 of a path"),
    pytest.param("GET", "/v1/messages", {}, 405, id="405"),
    pytest.param(
        "POST", "/v1/messages", {"json": a_question("[[sim:status=400]]")}, 400, id="upstream's 400"
    ),
    pytest.param("POST", "/v1/messages", {"json": a_question("[[sim:status=500]]")}, 502, id="502"),
    pytest.param("POST", "/v1/messages", {"json": a_question("[[sim:status=529]]")}, 529, id="529"),
]


@pytest.mark.parametrize(("method", "path", "options", "status"), CASES)
def test_every_answer_carries_the_limits_of_its_key(a_developer, method, path, options, status):
    answer = a_developer(**LIMITED).send(method, path, **options)
    headers = answer.headers
    assert answer.status_code == status
    assert headers["x-ratelimit-limit"] == str(RPM)
    assert RPM - 1 <= int(headers["x-ratelimit-remaining"]) <= RPM
    assert 0 <= int(headers["x-ratelimit-reset"]) - int(time.time()) <= 62
    assert headers["anthropic-ratelimit-requests-limit"] == str(RPM)
    assert headers["anthropic-ratelimit-requests-remaining"] == headers["x-ratelimit-remaining"]
    assert headers["anthropic-ratelimit-tokens-limit"] == str(TOKENS)
    assert TOKENS - 2000 <= int(headers["anthropic-ratelimit-tokens-remaining"]) <= TOKENS


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        *CASES,
        pytest.param("GET", "/v1/nothing", {}, 404, id="no such path"),
        pytest.param("GET", "/v1/messages", {}, 405, id="405"),
    ],
)
def test_every_answer_has_a_request_id_of_the_gateways_own(
    a_developer, method, path, options, status
):
    developer = a_developer(**LIMITED)
    headers = {"request-id": "req_mine", "x-request-id": "req_mine"}
    ids = [
        developer.send(method, path, headers=headers, **options).headers.get_list("request-id")
        for _twice in range(2)
    ]
    assert all(len(found) == 1 and re.fullmatch(r"req_[0-9a-f]{32}", found[0]) for found in ids)
    assert ids[0] != ids[1]


def test_an_answer_to_a_stranger_has_a_request_id_and_no_limits(gateway):
    answer = httpx.get(f"{gateway.url}/v1/models")
    assert answer.headers["request-id"].startswith("req_")
    assert "x-ratelimit-limit" not in answer.headers


def test_the_instants_of_reset_agree(a_developer):
    headers = a_developer(**LIMITED).ask().headers
    reset = dt.datetime.fromisoformat(headers["anthropic-ratelimit-requests-reset"])
    assert reset.utcoffset() == dt.timedelta(0)
    assert int(reset.timestamp()) == int(headers["x-ratelimit-reset"])
    assert dt.datetime.fromisoformat(headers["anthropic-ratelimit-tokens-reset"]) <= reset


def test_remaining_counts_down(a_developer):
    developer = a_developer(**LIMITED)
    left = [int(developer.ask().headers["x-ratelimit-remaining"]) for _call in range(3)]
    assert left == [RPM - 1, RPM - 2, RPM - 3]


def test_a_key_without_limits_has_none_to_show(a_developer):
    headers = a_developer(rpm=None, concurrency=None, budgets=[]).ask().headers
    assert not [name for name in headers if "ratelimit" in name]


@pytest.mark.parametrize("headers", [{}, {"x-no-cache": "true"}])
def test_messages_say_that_no_cache_was_used(developer, headers):
    answer = developer.post("/v1/messages", json=a_question(), headers=headers)
    assert answer.headers["x-cache"] in ("MISS", "BYPASS")


@pytest.mark.usefixtures("awake")
@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param("Hello!", id="an answer"),
        pytest.param("[[sim:status=400]]", id="an error"),
        pytest.param("[[sim:status=429 retry-after=17 should-retry=true]]", id="a rate limit"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_what_describes_the_shared_account_is_stripped(a_developer, prompt, streamed):
    developer = a_developer(rpm=None, concurrency=None, budgets=[])
    names = set(developer.ask(prompt, stream=streamed).headers)
    assert not names & {
        *("set-cookie", "anthropic-organization-id", "cf-cache-status", "x-should-retry"),
        *("anthropic-ratelimit-requests-limit", "anthropic-ratelimit-input-tokens-reset"),
    }


def test_other_headers_of_upstreams_are_passed_on(developer):
    answer = developer.ask(stream=True)
    assert answer.headers["x-robots-tag"] == "none"
    assert answer.headers["cache-control"] == "no-cache"
