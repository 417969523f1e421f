"""Counting tokens is free: no request, no budget; 25 in a second, as Claude Code asks."""

from concurrent.futures import ThreadPoolExecutor

from tests.acceptance.developer import a_question
from tests.factories import a_spec


def test_25_in_a_second_pass_beside_a_limit_of_one(a_developer):
    developer = a_developer(rpm=1, concurrency=1, budgets=[a_spec(limit=1)])
    path = "/v1/messages/count_tokens?beta=true"
    with ThreadPoolExecutor(25) as crowd:
        answers = crowd.map(lambda n: developer.post(path, json=a_question(f"{n}")), range(25))
    assert {answer.status_code for answer in answers} == {200}
    status = developer.status()
    assert status["rate_limit"]["remaining"] == 1
    assert status["budget"]["used_tokens"] == 0
    assert developer.ask().status_code == 200


def test_a_count_is_upstreams_own(developer):
    question = a_question("one two three four five six seven eight nine ten")
    counted = developer.post("/v1/messages/count_tokens", json=question).json()
    answered = developer.post("/v1/messages", json=question).json()
    assert counted == {"input_tokens": answered["usage"]["input_tokens"]}


def test_a_spent_budget_still_counts(a_developer):
    developer = a_developer(rpm=None, budgets=[a_spec(limit=0)])
    assert developer.ask().status_code == 429
    assert developer.post("/v1/messages/count_tokens", json=a_question()).status_code == 200
