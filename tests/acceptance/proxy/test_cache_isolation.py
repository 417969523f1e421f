"""What holds kept answers apart besides test_cached_answers.py: betas, versions, the query, a team
that shares no more, and bodies that two parsers could read in two ways.
"""

import itertools
import json

import pytest

from keys.services import team_update
from tests.acceptance.developer import a_name, a_question
from tests.factories import a_team
from tests.waiting import wait_until

MESSAGES = "/v1/messages"
WEATHER = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
WAYS = [
    {},
    {"anthropic-version": "2026-10-21"},
    {"anthropic-beta": "effort-2025-11-24"},
    {"anthropic-beta": "effort-2025-11-24,context-1m-2025-08-07"},
    {"anthropic-version": "2026-10-21", "anthropic-beta": "effort-2025-11-24"},
]


@pytest.fixture
def developer(a_developer):
    """A developer who is answered from the cache."""
    return a_developer(rpm=None, concurrency=None, cache_enabled=True)


@pytest.fixture
def question():
    """A question that nobody has asked before."""
    return a_question(a_name())


def asked(developer, question, path=MESSAGES, **headers):
    """Return what the answer says of the cache."""
    content = question if isinstance(question, str) else json.dumps(question)
    headers |= {"content-type": "application/json"}
    answer = developer.post(path, content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-cache"]


def test_no_version_and_no_beta_is_given_anothers_answer(developer, question):
    assert [asked(developer, question, **way) for way in WAYS] == ["MISS"] * len(WAYS)
    assert [asked(developer, question, **way) for way in WAYS] == ["HIT"] * len(WAYS)


def test_the_version_that_is_meant_without_one_is_the_same(developer, question):
    asked(developer, question)
    assert asked(developer, question, **{"anthropic-version": "2023-06-01"}) == "HIT"


def test_the_order_of_betas_does_not_matter(developer, question):
    both = ["effort-2025-11-24", "context-1m-2025-08-07"]
    orders = [{"anthropic-beta": ",".join(order)} for order in itertools.permutations(both)]
    assert [asked(developer, question, **order) for order in orders] == ["MISS", "HIT"]


def test_a_query_is_another_question_but_the_doubled_path_is_not(developer, question):
    paths = [MESSAGES, f"{MESSAGES}?beta=true", f"/v1{MESSAGES}"]
    found = [asked(developer, question, path=path) for path in paths]
    assert found == ["MISS", "MISS", "HIT"]


def test_tools_are_part_of_the_question_even_if_none_is_called(developer, question):
    asked(developer, question)
    armed = question | {"tools": [WEATHER]}
    assert [asked(developer, armed) for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.parametrize(
    "twice",
    [
        pytest.param('"system": "a", "system": "b"', id="outermost"),
        pytest.param('"system": [{"type": "text", "text": "a", "text": "b"}]', id="deeper"),
        pytest.param(r'"system": "a", "syst\u0065m": "b"', id="escaped"),
    ],
)
def test_what_could_be_read_in_two_ways_goes_past_the_cache(developer, question, twice):
    written = f"{json.dumps(question)[:-1]}, {twice}}}"
    assert [asked(developer, written) for _ in range(2)] == ["BYPASS"] * 2


def test_a_team_that_shares_no_more_forgets_what_it_shared(a_developer, question):
    team = a_team(cache_shared=True)
    one, other = (
        a_developer(rpm=None, concurrency=None, cache_enabled=True, team=team) for _ in range(2)
    )
    assert [asked(one, question), asked(other, question)] == ["MISS", "HIT"]
    team_update(team=team, changes={"cache_shared": False}, acting_user=None)
    assert wait_until(lambda: asked(other, question) == "MISS")
