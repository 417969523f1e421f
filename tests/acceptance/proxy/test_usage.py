"""`GET /v1/usage`: a key's own numbers, nobody else's, and free of charge."""

import datetime as dt

import pytest

from proxy.usage import READS_MAX
from tests.acceptance.installation import ledger_entry
from tests.factories import a_team
from usage import ledger


def rolled_up(answer):
    """The ledger entry of an exchange, drained."""
    entry = ledger_entry(answer.headers["request-id"])
    ledger.drain()
    return entry


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/v1/usage"])
def test_a_key_sees_what_it_used(a_developer, path):
    developer = a_developer()
    entry = rolled_up(developer.ask("[[sim:tokens=100]]"))
    answer = developer.get(path)
    assert answer.status_code == 200
    told = answer.json()
    assert told["key"] == f"sk-cc-...{developer.secret[-4:]}"
    assert told["totals"]["requests"] == 1
    assert told["totals"]["charged_tokens"] == entry.charged_tokens
    assert told["totals"]["cost_nanousd"] == entry.cost_nanousd
    assert sum(row["output_tokens"] for row in told["data"]) == entry.output_tokens
    assert 24 <= len(told["data"]) <= 25
    assert answer.headers["request-id"].startswith("req_")


def test_grouped_by_model_it_names_them(a_developer):
    developer = a_developer()
    rolled_up(developer.ask())
    rows = developer.get("/v1/usage?group_by=model&step=day&zone=Asia/Kolkata").json()["data"]
    assert [(row["model"], row["requests"]) for row in rows] == [("claude-haiku-4-5", 1)]
    assert rows[0]["start"].endswith("T00:00:00+05:30")


def test_nobody_elses_use_is_seen_not_even_the_teams(a_developer):
    team = a_team()
    mate, developer = a_developer(team=team), a_developer(team=team)
    rolled_up(mate.ask())
    assert developer.get("/v1/usage").json()["totals"]["requests"] == 0
    assert mate.get("/v1/usage").json()["totals"]["requests"] == 1


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("step=minute", id="no such step"),
        pytest.param("group_by=key", id="a group of others"),
        pytest.param("group_by=upstream", id="an account of the operators"),
        pytest.param("group_by=nothing", id="no such group"),
        pytest.param("zone=Mars/Olympus", id="no such zone"),
        pytest.param("zone=../../etc/passwd", id="a path for a zone"),
        pytest.param("start=yesterday", id="no time"),
        pytest.param("start=0001-01-01&end=9999-12-31", id="all of time"),
        pytest.param("start=9999-12-31T23:59:59-12:00", id="beyond time"),
        pytest.param("start=2026-02-01&end=2026-01-01", id="backwards"),
        pytest.param("start=2026-01-01&end=2026-12-31&step=15m", id="too many steps"),
        pytest.param("key=7", id="a key of others"),
        pytest.param("&&&&&&&&&&&&&&", id="no query at all"),
    ],
)
def test_a_question_that_cannot_be_answered_is_400(a_developer, query):
    answer = a_developer().get(f"/v1/usage?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_without_a_key_it_is_401(developer):
    answer = developer.http.get(f"{developer.base_url}/v1/usage")
    assert (answer.status_code, answer.headers["x-should-retry"]) == (401, "false")


def test_a_key_may_not_ask_without_end_and_its_messages_go_on(a_developer):
    developer = a_developer(rpm=None)
    answers = [developer.get("/v1/usage?group_by=nothing") for _call in range(READS_MAX)]
    assert {answer.status_code for answer in answers} == {400}
    answer = developer.get("/v1/usage")
    assert answer.status_code == 429
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert 1 <= int(answer.headers["retry-after"]) <= 31
    assert str(READS_MAX) in answer.json()["error"]["message"]
    assert developer.ask().status_code == 200


@pytest.mark.parametrize("plus", ["+", "%2B"], ids=["bare", "escaped"])
def test_times_may_have_an_offset(a_developer, plus):
    now = dt.datetime.now(dt.timezone(dt.timedelta(hours=2))).isoformat(timespec="seconds")
    end = now.replace("+", plus)
    assert a_developer().get(f"/v1/usage?end={end}").status_code == 200
