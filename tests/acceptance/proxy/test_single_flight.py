"""Identical requests at once share one upstream call; each has its answer and its ledger row."""

import asyncio
import itertools
import re

import httpx
import pytest

from tests.acceptance.developer import a_name, a_question
from tests.acceptance.installation import entries_of

CROWD = 200
PING = re.compile(r"event: ping\n.*\n\n")
SLOW = "[[sim:slow seconds=1]] [[sim:tokens=60]] [[sim:rate=300]]"


@pytest.fixture
def cached(a_developer):
    """A developer with the response cache whom no limit stops."""
    return a_developer(rpm=None, concurrency=None, cache_enabled=True)


def calls_upstream(simulator, name):
    """How many calls upstream has in its books for that exchange."""
    return sum(entry["headers"].get("x-exchange-id") == name for entry in simulator.entries())


def crowd(developer, count, *, streamed, prompt=SLOW, name=None, leave=()):
    """Ask the same `count` times at once; those in `leave` go after as many seconds."""
    name = name or a_name()
    question = a_question(f"{prompt} {name}", stream=streamed)
    headers = developer.headers | {"x-exchange-id": name}
    patience = dict(leave)

    async def one(client, number):
        try:
            return await client.post(
                f"{developer.base_url}/v1/messages",
                json=question,
                headers=headers,
                timeout=patience.get(number, 30.0),
            )
        except httpx.TimeoutException:
            return None

    async def everybody():
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(limits=limits) as client:
            tasks = []
            for number in range(count):
                tasks.append(asyncio.create_task(one(client, number)))
                if number == 0:
                    await asyncio.sleep(0.3)  # So that the first one leads.
            return await asyncio.gather(*tasks)

    return name, asyncio.run(everybody())


@pytest.mark.parametrize("streamed", [True, False])
def test_a_crowd_costs_one_call(cached, simulator, streamed):
    name, answers = crowd(cached, CROWD, streamed=streamed)
    assert [a.status_code for a in answers] == [200] * CROWD
    # Pings may come anywhere; an answer that is kept already has none.
    assert len({PING.sub("", a.text) for a in answers}) == 1
    assert calls_upstream(simulator, name) == 1
    rows = entries_of(cached.apikey, CROWD)
    whole = [row for row in rows if row.cache == "miss"]
    tenths = [row for row in rows if row.cache == "hit"]
    assert (len(whole), len(tenths)) == (1, CROWD - 1)
    assert {row.charged_tokens for row in tenths} == {-(-whole[0].charged_tokens // 10)}
    assert {row.cache_source for row in tenths} == {whole[0].request_id}
    leader = next(a for a in answers if a.headers["x-cache"] == "MISS")
    assert leader.headers["request-id"] == whole[0].request_id
    assert {a.headers["x-cache-source"] for a in answers if a is not leader} == {
        leader.headers["request-id"]
    }


@pytest.mark.parametrize("streamed", [True, False])
def test_the_call_goes_on_when_the_leader_leaves(cached, simulator, streamed):
    name, answers = crowd(cached, 20, streamed=streamed, leave={0: 0.7}.items())
    assert answers[0] is None
    assert [a.status_code for a in answers[1:]] == [200] * 19
    assert calls_upstream(simulator, name) == 1
    rows = entries_of(cached.apikey, 20)
    leader = next(row for row in rows if row.cache == "miss")
    assert (leader.status, leader.estimated) == ("hung_up", False)
    assert {row.status for row in rows if row is not leader} == {"completed"}


def test_the_call_ends_when_everybody_has_left(cached, simulator):
    prompt = "[[sim:tokens=2000]] [[sim:rate=100]]"
    name, answers = crowd(
        cached, 5, streamed=False, prompt=prompt, leave=zip(range(5), itertools.repeat(1.0))
    )
    assert answers == [None] * 5
    book = simulator.wait_for_entry(lambda e: e["headers"].get("x-exchange-id") == name)
    assert book["outcome"] == "hung_up"
    rows = entries_of(cached.apikey, 5)
    assert {row.status for row in rows} == {"hung_up"}


def test_one_follower_takes_over_from_a_leader_that_fails(cached, simulator):
    prompt = "[[sim:slow seconds=1 times=1]] [[sim:cut after=0 times=1]] [[sim:tokens=10]]"
    name, answers = crowd(cached, 30, streamed=True, prompt=prompt)
    assert [a.status_code for a in answers[1:]] == [200] * 29
    assert calls_upstream(simulator, name) <= 3


def test_a_refusal_of_the_request_is_shared(cached, simulator):
    prompt = "[[sim:slow seconds=1]] [[sim:status=400 message=no]]"
    name, answers = crowd(cached, 10, streamed=True, prompt=prompt)
    assert [a.status_code for a in answers] == [400] * 10
    assert len({a.text for a in answers}) == 1
    assert calls_upstream(simulator, name) == 1
    assert {row.charged_tokens for row in entries_of(cached.apikey, 10)} == {0}
