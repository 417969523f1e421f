import datetime as dt
import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from keys.core.access import KeyStatus
from keys.core.secret import digest
from keys.core.terms import INHERITABLE
from keys.models import ApiKey, AuditEvent, Plan, Team
from keys.policy import load_policy
from tests.factories import a_key, a_plan, a_spec, a_team

pytestmark = pytest.mark.django_db


def run(*words) -> str:
    said = StringIO()
    call_command(*words, stdout=said)
    return said.getvalue()


def test_a_plan_is_made_and_followed():
    run(
        "plan_create",
        *("--name", "gold", "--rpm", "7", "--concurrency", "none", "--tokens", "70/1h"),
        *("--models", "claude-haiku-*", "--wait", "20", "--hangup", "drain", "--no-cache"),
    )
    plan = Plan.objects.get(name="gold")
    assert (plan.rpm, plan.concurrency, plan.wait_s) == (7, None, 20)
    assert (plan.models, plan.hangup, plan.cache_enabled) == (["claude-haiku-*"], "drain", False)
    issued = json.loads(run("apikey_issue", "--name", "ci", "--plan", "gold", "--json"))
    assert (issued["plan"], issued["inherited"]) == ("gold", sorted(INHERITABLE))
    assert (issued["limits"]["rpm"], issued["limits"]["budgets"][0]["limit_amount"]) == (7, 70)


def test_what_is_said_is_the_key_s_own():
    a_plan(name="gold", rpm=7, cache_enabled=False)
    words = ("--plan", "gold", "--rpm", "none", "--cache", "--wait", "9", "--models", "")
    issued = json.loads(run("apikey_issue", "--name", "ci", *words, "--json"))
    assert issued["inherited"] == ["concurrency", "hangup"]
    assert (issued["limits"]["rpm"], issued["cache_enabled"], issued["wait_s"]) == (None, True, 9)


def test_a_plan_that_is_not_there_is_said():
    with pytest.raises(CommandError, match="no plan 'gold'"):
        run("apikey_issue", "--name", "ci", "--plan", "gold")


def test_a_team_gets_a_plan():
    plan = a_plan(name="gold")
    run("team_create", "--name", "blue", "--plan", "gold")
    assert Team.objects.get(name="blue").plan == plan


def test_a_key_changes_its_plan():
    apikey, plan = a_key(), a_plan(name="gold", rpm=7)
    run("apikey_plan", str(apikey.pk), "--plan", "gold")
    assert ApiKey.objects.get(pk=apikey.pk).plan == plan
    run("apikey_plan", apikey.prefix, "--none")
    stored = ApiKey.objects.get(pk=apikey.pk)
    assert (stored.plan, stored.rpm) == (None, 7)


def test_a_rotation_shows_the_new_secret_once():
    apikey = a_key()
    shown = json.loads(run("apikey_rotate", apikey.prefix, "--grace", "2h", "--json"))
    stored = ApiKey.objects.get(pk=apikey.pk)
    assert stored.digest == digest(shown["secret"])
    left = stored.previous_expires_at - timezone.now()
    assert dt.timedelta(hours=1, minutes=59) < left <= dt.timedelta(hours=2)
    assert shown["secret"] not in str(list(AuditEvent.objects.values()))


def test_a_rotation_says_how_long_the_secret_before_works():
    apikey = a_key()
    said = run("apikey_rotate", str(apikey.pk))
    assert "Its new secret is shown this once" in said
    assert f"The one before, {apikey.masked}, works until" in said
    # The prefix that a developer still has finds the key.
    assert "is refused from now on" in run("apikey_rotate", apikey.prefix, "--end-grace")
    assert load_policy(apikey.digest) is None


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        pytest.param(["--grace", "31d"], "0 to 30 days", id="too long"),
        pytest.param(["--grace", "soon"], "not a stretch of time", id="no time"),
        pytest.param(["--end-grace"], "one secret only", id="no grace to end"),
    ],
)
def test_a_rotation_that_cannot_be(words, complaint):
    with pytest.raises(CommandError, match=complaint):
        run("apikey_rotate", str(a_key().pk), *words)


def test_a_key_lives_longer():
    apikey = a_key(expires_at=timezone.now() + dt.timedelta(days=1))
    assert "until 2100-01-31 00:00 UTC" in run(
        "apikey_extend", apikey.prefix, "--until", "2100-01-31"
    )
    assert "for ever" in run("apikey_extend", apikey.prefix, "--for-ever")
    assert ApiKey.objects.get(pk=apikey.pk).expires_at is None


@pytest.mark.parametrize(
    ("verb", "status", "said"),
    [
        pytest.param("disable", KeyStatus.DISABLED, "is disabled", id="disable"),
        pytest.param("enable", KeyStatus.ACTIVE, "is as it was", id="enable"),
        pytest.param("revoke", KeyStatus.REVOKED, "is revoked", id="revoke"),
    ],
)
def test_a_key_is_moved(verb, status, said):
    apikey = a_key()
    assert said in run("apikey_state", str(apikey.pk), verb)
    assert ApiKey.objects.get(pk=apikey.pk).status is status


def test_a_budget_of_the_plan_is_raised_for_a_key_and_falls_back():
    apikey = a_key(plan=a_plan(budgets=[a_spec(limit=100)]))
    run("budget_raise", "--key", apikey.prefix, "--tokens", "500/1h", "--until", "2100-01-31")
    assert load_policy(apikey.digest).limits[1].limit == 500
    run("budget_raise", "--key", apikey.prefix, "--tokens", "500/1h", "--end")
    assert load_policy(apikey.digest).limits[1].limit == 100


def test_a_budget_of_a_team_is_raised():
    team = a_team(budgets=[a_spec(limit=100)])
    run("budget_raise", "--team", team.name, "--tokens", "500/1h", "--until", "2100-01-31")
    assert team.budgets.get().raised_amount == 500


def test_a_budget_that_is_not_there_is_said():
    apikey = a_key()
    with pytest.raises(CommandError, match="There are: 5,000,000 tokens / 5h"):
        run("budget_raise", "--key", apikey.prefix, "--usd", "5/1h", "--until", "2100-01-31")


def test_windows_are_emptied(valkey):
    apikey = a_key(plan=a_plan(budgets=[a_spec()]), budgets=[a_spec(window_s=60)])
    run("budget_reset", "--key", apikey.prefix, "--unit", "tokens", "--window", "1h")
    assert [li.reset_at_ms > 0 for li in load_policy(apikey.digest).limits[1:]] == [False, True]
    run("budget_reset", "--key", apikey.prefix)
    assert [li.reset_at_ms > 0 for li in load_policy(apikey.digest).limits[1:]] == [True, True]
