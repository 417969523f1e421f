"""The response cache as a developer sees it: what was asked before is answered at once."""

import contextlib
import json

import httpx
import pytest

from tests.acceptance.developer import a_name, a_question, events
from tests.acceptance.installation import entries_of
from tests.factories import a_team

KEPT = "[[sim:tokens=120]] [[sim:rate=10000]]"


@pytest.fixture
def cached(a_developer):
    """A developer with the response cache, and a budget."""
    return a_developer(rpm=None, concurrency=None, cache_enabled=True)


def ask_twice(developer, *, first=None, second=None, headers=None, **fields):
    """Ask the same twice; `first` and `second` differ in those fields."""
    prompt = f"{KEPT} {a_name()}"
    return tuple(
        developer.post(
            "/v1/messages",
            json=a_question(prompt, **fields | (own or {})),
            headers=headers or {},
        )
        for own in (first, second)
    )


def test_an_identical_prompt_is_a_hit_with_the_documented_headers(cached):
    miss, hit = ask_twice(cached)
    assert (miss.status_code, hit.status_code) == (200, 200)
    assert miss.headers["x-cache"] == "MISS"
    assert "x-cache-ttl" not in miss.headers
    assert hit.headers["x-cache"] == "HIT"
    assert hit.headers["x-cache-source"] == miss.headers["request-id"]
    assert hit.headers["request-id"] != miss.headers["request-id"]
    assert 0 <= int(hit.headers["age"]) < 10
    assert int(hit.headers["x-cache-ttl"]) > 60
    used = miss.json()["usage"]
    charged = used["input_tokens"] + used["output_tokens"]
    assert int(hit.headers["x-tokens-saved"]) == charged - -(-charged // 10)
    assert hit.json() == miss.json()


def test_a_hit_is_in_the_ledger_and_charged_a_tenth(cached):
    miss, hit = ask_twice(cached)
    first, second = entries_of(cached.apikey, 2)
    assert (first.cache, second.cache) == ("miss", "hit")
    assert second.cache_source == miss.headers["request-id"]
    assert second.charged_tokens == -(-first.charged_tokens // 10)
    assert second.cost_nanousd == -(-first.cost_nanousd // 10)
    assert second.saved_tokens == first.charged_tokens - second.charged_tokens
    assert second.saved_nanousd == first.cost_nanousd - second.cost_nanousd
    assert (second.input_tokens, second.output_tokens, second.upstream) == (0, 0, "")
    assert second.status == "completed"
    assert int(hit.headers["x-tokens-saved"]) == second.saved_tokens
    used = cached.status()["budget"]["used_tokens"]
    assert used == first.charged_tokens + second.charged_tokens


def test_a_hit_counts_towards_the_rate_limit(a_developer):
    developer = a_developer(rpm=2, concurrency=None, cache_enabled=True)
    _miss, hit = ask_twice(developer)
    assert hit.headers["x-cache"] == "HIT"
    assert hit.headers["x-ratelimit-remaining"] == "0"
    assert developer.ask().status_code == 429


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_either_kind_of_answer_is_replayed_as_either(cached, first, second):
    fresh, hit = ask_twice(cached, first={"stream": first}, second={"stream": second})
    assert (fresh.headers["x-cache"], hit.headers["x-cache"]) == ("MISS", "HIT")
    if second:
        assert hit.headers["content-type"].startswith("text/event-stream")
        names = events(hit)
        assert names[0] == "message_start"
        assert names[-2:] == ["message_delta", "message_stop"]
        assert names.count("message_start") == names.count("message_stop") == 1
    else:
        assert hit.headers["content-type"] == "application/json"
    assert text_of(hit) == text_of(fresh)


def test_no_cache_neither_reads_nor_writes(cached):
    prompt = f"{KEPT} {a_name()}"

    def ask(**headers):
        answer = cached.post("/v1/messages", json=a_question(prompt), headers=headers)
        return answer.headers["x-cache"]

    assert ask(**{"x-no-cache": "true"}) == "BYPASS"
    assert ask() == "MISS"
    assert ask(**{"X-No-Cache": "True"}) == "BYPASS"
    assert ask(**{"x-no-cache": "false"}) == "HIT"


def test_a_key_without_cache_goes_past_it(a_developer):
    developer = a_developer(rpm=None, concurrency=None, cache_enabled=False)
    assert [a.headers["x-cache"] for a in ask_twice(developer)] == ["BYPASS", "BYPASS"]


@pytest.mark.parametrize(
    "mark",
    [
        "[[sim:tool]]",
        "[[sim:status=500]]",
        "[[sim:status=400]]",
        "[[sim:cut after=4]]",
        "[[sim:refusal]]",
        "[[sim:web-search=1]]",
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_what_is_not_whole_and_plain_is_not_kept(cached, mark, streamed):
    tools = [{"name": "look", "input_schema": {"type": "object"}}]
    question = a_question(f"{mark} {a_name()}", stream=streamed, tools=tools)
    for _again in range(2):
        with cached.http.stream(
            "POST", f"{cached.base_url}/v1/messages", json=question, headers=cached.headers
        ) as answer:
            with contextlib.suppress(httpx.RemoteProtocolError):
                answer.read()
            assert answer.headers["x-cache"] == "MISS"


def test_keys_never_see_each_others_answers(a_developer):
    team = a_team()
    keys = [
        a_developer(rpm=None, concurrency=None, cache_enabled=True, team=t)
        for t in (None, None, team, team)
    ]
    prompt = f"{KEPT} {a_name()}"
    assert [key.ask(prompt).headers["x-cache"] for key in keys] == ["MISS"] * 4


def test_a_team_may_share_its_answers(a_developer):
    sharing, other = a_team(cache_shared=True), a_team(cache_shared=True)
    prompt = f"{KEPT} {a_name()}"
    found = [
        a_developer(rpm=None, concurrency=None, cache_enabled=True, team=team)
        .ask(prompt)
        .headers["x-cache"]
        for team in (sharing, sharing, other)
    ]
    assert found == ["MISS", "HIT", "MISS"]


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"model": "claude-sonnet-4-6"}, {}),
        ({"temperature": 0.5}, {}),
        ({"max_tokens": 999}, {}),
        ({"system": "Be brief."}, {}),
        ({}, {"anthropic-beta": "context-1m-2025-08-07"}),
        ({}, {"anthropic-version": "2026-10-21"}),
    ],
)
def test_whatever_can_change_the_answer_misses(cached, fields, headers):
    prompt = f"{KEPT} {a_name()}"
    assert cached.ask(prompt).headers["x-cache"] == "MISS"
    question = a_question(prompt) | fields
    other = cached.post("/v1/messages", json=question, headers=headers)
    assert (other.status_code, other.headers["x-cache"]) == (200, "MISS")


def test_the_way_it_is_written_does_not_matter(cached):
    question = a_question(f"{KEPT} {a_name()}")
    assert cached.post("/v1/messages", json=question).headers["x-cache"] == "MISS"
    backwards = json.dumps(dict(reversed(question.items())), indent=3)
    hit = cached.post(
        "/v1/messages", content=backwards, headers={"content-type": "application/json"}
    )
    assert hit.headers["x-cache"] == "HIT"
    tagged = cached.ask(question["messages"][0]["content"], metadata={"user_id": "somebody"})
    assert tagged.headers["x-cache"] == "HIT"


def text_of(answer):
    """The text of an answer of either kind."""
    if answer.headers["content-type"] == "application/json":
        return "".join(block.get("text", "") for block in answer.json()["content"])
    data = (
        json.loads(line.removeprefix("data: "))
        for line in answer.text.splitlines()
        if line.startswith("data: ")
    )
    return "".join(event.get("delta", {}).get("text", "") for event in data)
