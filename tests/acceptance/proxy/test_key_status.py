"""`GET /v1/key-status`: as documented, for every key that exists, and free of charge."""

import datetime as dt
import re
import time

import pytest
from django.utils import timezone

from keys.core.limits import Unit
from keys.core.secret import compose
from keys.models import ApiKey
from keys.services import apikey_disable, apikey_revoke
from tests.acceptance.developer import a_question
from tests.acceptance.installation import ledger_entry
from tests.factories import a_spec, a_team
from tests.waiting import wait_until

UNLIMITED = {"rpm": None, "concurrency": None, "budgets": []}


def test_a_new_key_as_documented(a_developer):
    developer = a_developer(name="laptop")
    status = developer.status()
    assert status["key"] == f"sk-cc-...{developer.secret[-4:]}"
    assert (status["name"], status["status"]) == ("laptop", "active")
    assert status["budget"] == {
        "total_tokens": 5_000_000,
        "used_tokens": 0,
        "remaining_tokens": 5_000_000,
        "window": "5h rolling",
        "resets_in": "0m",
    }
    assert status["rate_limit"]["rpm"] == 60
    assert status["rate_limit"]["concurrent"] == 5
    assert status["rate_limit"]["remaining"] == 60
    assert status["rate_limit"]["in_flight"] == 0
    assert status["models"] == ["claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5"]
    assert status["expires_at"] is None


def test_what_an_answer_used_shows_when_it_is_there(a_developer):
    developer = a_developer()
    answers = [developer.ask("[[sim:tokens=100]]") for _twice in range(2)]
    usages = [answer.json()["usage"] for answer in answers]
    used = sum(usage["input_tokens"] + usage["output_tokens"] for usage in usages)
    budget = wait_until(
        lambda: (b := developer.status()["budget"])["used_tokens"] == used and b,
    )
    assert budget["remaining_tokens"] == 5_000_000 - used
    assert re.fullmatch(r"5h( 1m)?|4h 59m", budget["resets_in"])


def test_it_agrees_with_the_ledger(a_developer):
    developer = a_developer()
    answer = developer.ask("[[sim:tokens=100]]")
    entry = ledger_entry(answer.headers["request-id"])
    assert developer.status()["budget"]["used_tokens"] == entry.charged_tokens


@pytest.mark.parametrize(
    ("header", "value"), [("x-api-key", "KEY"), ("authorization", "Bearer KEY")]
)
def test_either_header_will_do(developer, header, value):
    url = f"{developer.base_url}/v1/key-status"
    headers = {header: value.replace("KEY", developer.secret)}
    assert developer.http.get(url, headers=headers).json()["status"] == "active"


def expire(apikey, acting_user):
    ApiKey.objects.filter(pk=apikey.pk).update(expires_at=timezone.now() - dt.timedelta(days=1))


@pytest.mark.parametrize(
    ("move", "status"),
    [(apikey_disable, "disabled"), (expire, "expired"), (apikey_revoke, "revoked")],
)
def test_a_dead_key_is_told_so(developer, move, status):
    move(apikey=developer.apikey, acting_user=None)
    assert developer.status()["status"] == status
    assert developer.ask().status_code == 401


def test_a_key_that_does_not_exist_is_refused(developer):
    stranger = compose("k" * 32).text
    answer = developer.get("/v1/key-status", headers={"x-api-key": stranger})
    assert (answer.status_code, answer.headers["x-should-retry"]) == (401, "false")


def test_a_live_key_is_shown_before_a_dead_one(a_developer):
    dead, live = a_developer(name="dead"), a_developer(name="live")
    apikey_revoke(apikey=dead.apikey, acting_user=None)
    answer = dead.get("/v1/key-status", headers={"authorization": f"Bearer {live.secret}"})
    assert answer.json()["name"] == "live"


def test_an_expiry_to_come_is_shown(a_developer):
    developer = a_developer(expires_at=dt.datetime(2199, 12, 31, 12, tzinfo=dt.UTC))
    assert developer.status()["expires_at"] == "2199-12-31T12:00:00Z"


def test_it_costs_no_request(a_developer):
    developer = a_developer(rpm=1)
    statuses = [developer.get("/v1/key-status").status_code for _call in range(10)]
    assert statuses == [200] * 10
    assert developer.ask().status_code == 200
    assert developer.ask().status_code == 429
    assert developer.status()["rate_limit"]["remaining"] == 0


def test_it_shows_what_is_in_flight(a_developer):
    developer = a_developer(concurrency=3)
    with developer.listen("[[sim:tokens=200]] [[sim:rate=50]]"):
        assert developer.status()["rate_limit"]["in_flight"] == 1
    wait_until(lambda: developer.status()["rate_limit"]["in_flight"] == 0, seconds=1)


def test_all_budgets_are_shown_the_keys_first_token_budget_above(a_developer):
    team = a_team(budgets=[a_spec(limit=9000, window_s=86_400)])
    own = [
        a_spec(unit=Unit.NANOUSD, limit=5_000_000_000, window_s=86_400),
        a_spec(limit=700, window_s=3600, strict=True),
        a_spec(limit=300, window_s=60, anchored=True),
    ]
    status = a_developer(team=team, **UNLIMITED | {"budgets": own}).status()
    shown = [(b["scope"], b["unit"], b["limit"], b["window"]) for b in status["budgets"]]
    assert shown == [
        ("key", "nanousd", 5_000_000_000, "1d rolling"),
        ("key", "tokens", 700, "1h rolling"),
        ("key", "tokens", 300, "1m anchored"),
        ("team", "tokens", 9000, "1d rolling"),
    ]
    assert status["budget"]["total_tokens"] == 700


def test_a_key_without_limits_has_none_to_show(a_developer):
    status = a_developer(**UNLIMITED).status()
    assert (status["budget"], status["budgets"]) == (None, [])
    assert status["rate_limit"] == {
        "rpm": None,
        "concurrent": None,
        "remaining": None,
        "in_flight": 0,
    }


def test_only_the_models_of_the_key_are_shown(a_developer):
    assert a_developer(models=["claude-haiku-4-5"]).status()["models"] == ["claude-haiku-4-5"]


def test_models_and_probes_cost_no_request_either(a_developer):
    developer = a_developer(rpm=1)
    assert {developer.get("/v1/models").status_code for _call in range(5)} == {200}
    assert developer.post("/v1/messages", json=a_question(model="no")).status_code == 403
    assert developer.post("/v1/messages", content=b"?").status_code == 400
    assert developer.ask().status_code == 200


def test_a_spent_budget_tells_when_the_next_request_is_let_in(a_developer):
    developer = a_developer(**UNLIMITED | {"budgets": [a_spec(limit=300, window_s=30)]})
    developer.ask("[[sim:tokens=20]]")
    second = int(time.time())
    wait_until(lambda: int(time.time()) >= second + 2)
    developer.ask("[[sim:tokens=400]]")

    def both_told():
        began_s = int(time.time())
        told = developer.status()["budget"]["resets_in"], developer.ask().headers["retry-after"]
        return told if int(time.time()) == began_s else None

    resets_in, retry_after = wait_until(both_told)
    assert resets_in == f"{retry_after}s"
