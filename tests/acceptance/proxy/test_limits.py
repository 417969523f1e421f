"""Every limit exhausted over HTTP, waited out, and not a bucket earlier.

Windows are a few seconds here, so a bucket is one second: a request denied in second T with
`Retry-After: r` is let in again in second T + r, and not before. (A minute of requests is waited
out in test_waits.py.)
"""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from keys.core.limits import Unit
from keys.services import budget_reset
from tests.factories import a_spec, a_team
from tests.waiting import sleep_until, wait_until

USD = 1_000_000_000
# About 220 tokens, and more than a tenth of a cent: haiku writes for 5 USD per million tokens.
ANSWER = "[[sim:tokens=200]]"
SLOW = "[[sim:tokens=200 id=slow]] [[sim:rate=100]]"
UNLIMITED = {"rpm": None, "concurrency": None, "budgets": []}
A_BUCKET_S = 1


def a_budget_of(limit, *, unit=Unit.TOKENS, window_s=3, **fields):
    return {"budgets": [a_spec(unit=unit, limit=limit, window_s=window_s, **fields)]}


SPENT_BY_AN_ANSWER = [
    pytest.param(a_budget_of(100), id="tokens"),
    pytest.param(a_budget_of(USD // 2000, unit=Unit.NANOUSD), id="USD"),
]


def denied(answer):
    """The message of an answer that is a denial."""
    assert answer.status_code == 429, answer.text
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert int(answer.headers["retry-after"]) > 0
    return answer.json()["error"]["message"]


def denied_within_a_second(developer):
    """A denial and the second it was made in."""

    def ask():
        began_s = int(time.time())
        answer = developer.ask()
        # One from between two seconds belongs to neither.
        return (answer, began_s) if int(time.time()) == began_s else None

    answer, at_s = wait_until(ask)
    denied(answer)
    return answer, at_s


@pytest.mark.parametrize("limits", SPENT_BY_AN_ANSWER)
def test_a_spent_budget_is_open_again_when_it_said_and_not_a_bucket_earlier(a_developer, limits):
    developer = a_developer(**UNLIMITED | limits)
    assert developer.ask(ANSWER).status_code == 200
    answer, at_s = denied_within_a_second(developer)
    open_s = at_s + int(answer.headers["retry-after"])
    sleep_until(open_s - 0.4 * A_BUCKET_S)
    denied(developer.ask())
    sleep_until(open_s)
    assert developer.ask().status_code == 200


@pytest.mark.parametrize("limits", SPENT_BY_AN_ANSWER)
def test_a_teams_spent_budget_stops_all_its_keys_until_it_said(a_developer, limits):
    team = a_team(**limits)
    first, second = (a_developer(team=team, **UNLIMITED) for _key in range(2))
    assert first.ask(ANSWER).status_code == 200
    answer, at_s = denied_within_a_second(second)
    assert "the team" in denied(answer)
    open_s = at_s + int(answer.headers["retry-after"])
    sleep_until(open_s - 0.4 * A_BUCKET_S)
    denied(first.ask())
    sleep_until(open_s)
    assert second.ask().status_code == 200


def test_an_anchored_budget_opens_all_at_once(a_developer):
    developer = a_developer(**UNLIMITED | a_budget_of(100, anchored=True))
    began_s = time.time()
    assert developer.ask(ANSWER).status_code == 200
    answer = developer.ask()
    assert 2 <= int(answer.headers["retry-after"]) <= 3
    sleep_until(began_s + 2.5)
    denied(developer.ask())
    sleep_until(time.time() + int(developer.ask().headers["retry-after"]))
    assert developer.ask().status_code == 200


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        pytest.param(
            a_budget_of(100),
            r"Token budget exceeded\. Resets in [34]s\."
            r" Used [12]\d\d of 100 tokens in 3s by this key\.",
            id="tokens",
        ),
        pytest.param(
            a_budget_of(100, window_s=18_000),
            r"Token budget exceeded\. Resets in (5h|5h 1m|4h 59m)\."
            r" Used [12]\d\d of 100 tokens in 5h by this key\.",
            id="tokens, as documented",
        ),
        pytest.param(
            a_budget_of(USD // 2000, unit=Unit.NANOUSD, window_s=30 * 86_400),
            r"USD budget exceeded\. Resets in (29|30)d( \d+h)?\."
            r" Used \$0\.00\d\d of \$0\.0005 in 30d by this key\.",
            id="USD",
        ),
    ],
)
def test_the_message_says_what_was_used_and_when_it_resets(a_developer, limits, message):
    developer = a_developer(**UNLIMITED | limits)
    assert developer.ask(ANSWER).status_code == 200
    assert re.fullmatch(message, denied(developer.ask()))


@pytest.mark.parametrize(
    ("window_s", "should_retry"),
    [
        pytest.param(30, None, id="half a minute"),
        pytest.param(3600, "false", id="an hour"),
        pytest.param(18_000, "false", id="five hours"),
    ],
)
def test_nobody_is_sent_to_sleep_for_hours(a_developer, window_s, should_retry):
    developer = a_developer(**UNLIMITED | a_budget_of(100, window_s=window_s))
    developer.ask(ANSWER)
    answer = developer.ask()
    bucket_s = max(1, window_s // 300)
    assert window_s - bucket_s <= int(answer.headers["retry-after"]) <= window_s + bucket_s
    assert answer.headers.get("x-should-retry") == should_retry


def test_a_denial_carries_the_documented_headers(a_developer):
    developer = a_developer(**UNLIMITED | {"rpm": 2})
    assert [developer.ask().status_code for _call in range(2)] == [200, 200]
    answer, at_s = denied_within_a_second(developer)
    assert "may make 2 requests a minute" in denied(answer)
    assert answer.headers["x-ratelimit-limit"] == "2"
    assert answer.headers["x-ratelimit-remaining"] == "0"
    reset_s = int(answer.headers["x-ratelimit-reset"])
    assert reset_s == at_s + int(answer.headers["retry-after"])


def test_a_denial_moves_no_counter(a_developer):
    developer = a_developer(**UNLIMITED | {"rpm": 3} | a_budget_of(100, window_s=60))
    assert developer.ask(ANSWER).status_code == 200
    before = developer.status()
    for _call in range(5):
        denied(developer.ask())
    after = developer.status()
    assert after["rate_limit"]["remaining"] == before["rate_limit"]["remaining"] == 2
    assert after["budget"]["used_tokens"] == before["budget"]["used_tokens"]


def test_the_documented_concurrency_is_held(a_developer):
    developer = a_developer(**UNLIMITED | {"concurrency": 2})
    with developer.listen(SLOW), developer.listen(SLOW):
        answer = developer.ask()
        assert "may have 2 at once" in denied(answer)
        assert answer.headers["retry-after"] == "1"
        assert "x-should-retry" not in answer.headers
        assert developer.status()["rate_limit"]["in_flight"] == 2
    wait_until(lambda: developer.ask().status_code == 200, seconds=1)


def test_a_teams_concurrency_is_shared(a_developer):
    team = a_team(concurrency=1)
    first, second = (a_developer(team=team, **UNLIMITED) for _key in range(2))
    with first.listen(SLOW):
        assert "this team may have 1 at once" in denied(second.ask())
    wait_until(lambda: second.ask().status_code == 200, seconds=1)


@pytest.mark.parametrize("streamed", [False, True])
def test_one_at_a_time_never_stands_in_its_own_way(a_developer, streamed):
    developer = a_developer(**UNLIMITED | {"concurrency": 1})
    statuses = [developer.ask(stream=streamed).status_code for _call in range(100)]
    assert statuses == [200] * 100


@pytest.mark.parametrize("limits", [{"rpm": 7}, {"concurrency": 7}])
def test_of_many_at_once_exactly_the_limit_is_let_in(a_developer, limits):
    developer = a_developer(**UNLIMITED | limits)
    prompt = "[[sim:slow seconds=0.7]]"
    with ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda _n: developer.ask(prompt), range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [429] * 13


def test_the_last_of_a_budget_is_not_given_to_many_at_once(a_developer):
    developer = a_developer(**UNLIMITED | a_budget_of(100, window_s=60))
    prompt = "[[sim:tokens=200]] [[sim:slow seconds=0.7]]"
    with ThreadPoolExecutor(10) as crowd:
        answers = list(crowd.map(lambda _n: developer.ask(prompt), range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [429] * 9
    waits = {answer.headers["retry-after"] for answer in answers if answer.status_code == 429}
    assert waits == {"1"}


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        pytest.param({"rpm": 0}, "may make 0 requests a minute", id="requests"),
        pytest.param({"concurrency": 0}, "may have 0 at once", id="concurrency"),
        pytest.param(a_budget_of(0), "Token budget exceeded.", id="tokens"),
        pytest.param(a_budget_of(0, unit=Unit.NANOUSD), "USD budget exceeded.", id="USD"),
        pytest.param(a_budget_of(0, strict=True), "Token budget exceeded.", id="strict tokens"),
    ],
)
def test_a_limit_of_nothing_lets_nothing_in(a_developer, limits, message):
    assert message in denied(a_developer(**UNLIMITED | limits).ask())


def test_a_strict_budget_is_never_exceeded(a_developer):
    developer = a_developer(**UNLIMITED | a_budget_of(5000, strict=True, window_s=60))
    statuses = [developer.ask(ANSWER, max_tokens=600).status_code for _call in range(40)]
    budget = developer.status()["budget"]
    assert set(statuses) == {200, 429}
    assert statuses == sorted(statuses)
    assert 0 < budget["used_tokens"] <= 5000


def test_a_request_that_can_never_fit_is_told_so(a_developer):
    developer = a_developer(**UNLIMITED | a_budget_of(5000, strict=True, window_s=60))
    message = denied(developer.ask(max_tokens=9000))
    assert "Lower max_tokens" in message
    assert developer.ask(max_tokens=600).status_code == 200


def test_the_tightest_of_several_budgets_speaks(a_developer):
    tight, wide = a_spec(limit=100, window_s=7200), a_spec(limit=10**6, window_s=3)
    developer = a_developer(**UNLIMITED | {"budgets": [wide, tight]})
    developer.ask(ANSWER)
    answer = developer.ask()
    assert "in 2h by this key" in denied(answer)
    assert answer.headers["anthropic-ratelimit-tokens-limit"] == "1000000"


def test_an_operator_empties_a_budget(a_developer):
    developer = a_developer(**UNLIMITED | a_budget_of(100, window_s=3600))
    developer.ask(ANSWER)
    denied(developer.ask())
    budget_reset(budget=developer.apikey.budgets.get(), acting_user=None)
    wait_until(lambda: developer.ask().status_code == 200, seconds=1)


def test_upstreams_errors_cost_a_request_and_no_tokens(a_developer):
    developer = a_developer(**UNLIMITED | {"rpm": 10} | a_budget_of(1000, window_s=60))
    for status in (400, 500, 529):
        developer.ask(f"[[sim:status={status}]]")
    status = developer.status()
    assert status["rate_limit"]["remaining"] == 7
    assert wait_until(lambda: developer.status()["budget"]["used_tokens"] == 0)
    assert developer.status()["rate_limit"]["in_flight"] == 0
