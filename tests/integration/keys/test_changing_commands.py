"""Commands that change what is there: what is given, and nothing else, with one row each."""

import csv
import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from keys.models import ApiKey, AuditEvent, ClaudeModel, Plan, Team
from keys.services import apikey_disable
from tests.factories import a_key, a_model, a_plan, a_spec, a_stranger, a_team

pytestmark = pytest.mark.django_db


def run(*words) -> str:
    said = StringIO()
    call_command(*words, stdout=said)
    return said.getvalue()


def actions() -> list[str]:
    return list(AuditEvent.objects.order_by("pk").values_list("action", flat=True))


def test_a_key_is_changed_in_what_is_given_alone():
    team, owner = a_team(name="blue"), a_stranger()
    apikey = a_key(name="ci", rpm=7, cidrs=["10.0.0.0/8"])
    words = ("--concurrency", "none", "--wait", "9", "--no-cache", "--during-maintenance")
    run("apikey_set", apikey.prefix, *words, "--team", "blue", "--owner", owner.username)
    stored = ApiKey.objects.get(pk=apikey.pk)
    assert (stored.concurrency, stored.wait_s, stored.cache_enabled) == (None, 9, False)
    assert (stored.team, stored.owner, stored.during_maintenance) == (team, owner, True)
    assert (stored.name, stored.rpm, stored.cidrs) == ("ci", 7, ["10.0.0.0/8"])
    run("apikey_set", str(apikey.pk), "--team", "none", "--cidrs", "")
    stored.refresh_from_db()
    assert (stored.team, stored.owner, stored.cidrs) == (None, owner, [])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        pytest.param(["apikey_set", "{key}"], "Say what to change: --rename", id="nothing"),
        pytest.param(["apikey_set", "{key}", "--models", "claude-x"], "models:", id="no model"),
        pytest.param(["apikey_set", "{key}", "--owner", "nobody"], "no account", id="nobody"),
        pytest.param(["plan_set", "lost", "--rpm", "1"], "no plan 'lost'", id="no plan"),
        pytest.param(["team_member", "lost", "x", "add"], "no team 'lost'", id="no team"),
        pytest.param(
            ["budget_set", "--key", "{key}", "--usd", "1/1m", "--remove"], "no such", id="no"
        ),
        pytest.param(["model_set", "claude-new", "--enable"], "display_name:", id="half a model"),
    ],
)
def test_what_cannot_be_done_is_said(words, complaint):
    key = a_key().prefix
    before = actions()
    with pytest.raises(CommandError, match=complaint):
        run(*[word.format(key=key) for word in words])
    assert actions() == before


def test_a_plan_is_changed_and_deleted():
    plan = a_plan(name="gold", rpm=7, wait_s=5)
    run("plan_set", "gold", "--rpm", "none", "--rename", "silver", "--hangup", "drain")
    plan.refresh_from_db()
    assert (plan.name, plan.rpm, plan.wait_s, plan.hangup) == ("silver", None, 5, "drain")
    run("plan_delete", "silver")
    assert not Plan.objects.exists()
    assert actions() == ["plan.create", "plan.update", "plan.delete"]


def test_what_somebody_has_is_not_deleted():
    a_key(plan=a_plan(name="gold"), team=a_team(name="blue"))
    for words in (("plan_delete", "gold"), ("team_delete", "blue")):
        with pytest.raises(CommandError, match="so it stays"):
            run(*words)
    assert (Plan.objects.count(), Team.objects.count()) == (1, 1)


def test_a_team_is_changed_and_deleted():
    team, plan = a_team(name="blue"), a_plan(name="gold")
    run("team_set", "blue", "--plan", "gold", "--rpm", "5", "--share-cache")
    team.refresh_from_db()
    assert (team.plan, team.rpm, team.cache_shared, team.cache_enabled) == (plan, 5, True, True)
    run("team_set", "blue", "--plan", "none", "--ledger-days", "90", "--legal-hold", "case 7")
    team.refresh_from_db()
    assert (team.plan, team.ledger_keep_days, team.legal_hold) == (None, 90, "case 7")
    assert AuditEvent.objects.order_by("-id")[0].detail["legal_hold"] == ["", "case 7"]
    run("team_delete", "blue")
    assert not Team.objects.exists()


def test_people_come_into_a_team_lead_it_and_leave():
    team, user = a_team(name="blue"), a_stranger()
    said = [
        run("team_member", "blue", user.username, verb)
        for verb in ("add", "lead", "unlead", "remove")
    ]
    assert said[1] == f"{user} leads team blue.\n"
    assert not team.memberships.exists()
    member = "team.member_"
    assert actions()[1:] == [f"{member}{v}" for v in ("add", "update", "update", "remove")]
    with pytest.raises(CommandError, match="is not in team"):
        run("team_member", "blue", user.username, "lead")


def test_a_budget_is_set_changed_and_taken_away():
    plan = a_plan(name="gold")
    assert "70 tokens / 1h" in run("budget_set", "--plan", "gold", "--tokens", "70/1h")
    run("budget_set", "--plan", "gold", "--tokens", "80/1h", "--strict")
    stored = plan.budgets.get()
    assert (stored.limit_amount, stored.strict, stored.anchored) == (80, True, False)
    run("budget_set", "--plan", "gold", "--tokens", "90/1h", "--anchored")
    stored.refresh_from_db()
    assert (stored.limit_amount, stored.strict, stored.anchored) == (90, True, True)
    run("budget_set", "--plan", "gold", "--tokens", "90/1h", "--no-strict")
    assert not plan.budgets.get().strict
    run("budget_set", "--plan", "gold", "--tokens", "0/1h", "--unlimited")
    assert plan.budgets.get().limit_amount is None
    assert "none" in run("budget_set", "--plan", "gold", "--tokens", "0/1h", "--remove")
    assert not plan.budgets.exists()


def test_a_team_s_budget_is_its_own():
    team, apikey = a_team(name="blue"), a_key(budgets=[a_spec()])
    run("budget_set", "--team", "blue", "--usd", "5/30d")
    assert (team.budgets.count(), apikey.budgets.count()) == (1, 1)


def test_a_model_is_added_changed_and_taken_off():
    words = ("--display-name", "New", "--released", "2026-01-01", "--context", "9", "--output", "5")
    assert "added" in run("model_set", "claude-new", *words)
    run("model_set", "claude-new", "--disable", "--cache-ttl", "0")
    stored = ClaudeModel.objects.get(model_id="claude-new")
    assert (stored.enabled, stored.cache_ttl_s, stored.output_tokens_max) == (False, 0, 5)
    run("model_set", "claude-new", "--enable")
    assert ClaudeModel.objects.get(model_id="claude-new").enabled


def test_the_trail_is_written_in_its_order_and_as_it_was_asked_for():
    apikey = a_key(name="=cmd()")
    a_model(model_id="claude-other")
    apikey_disable(apikey=apikey, acting_user=None)
    rows = [json.loads(line) for line in run("audit_export", "--format", "jsonl").splitlines()]
    assert [row["action"] for row in rows] == ["apikey.issue", "model.create", "apikey.disable"]
    one = run("audit_export", "--format", "csv", "--action", "apikey.disable")
    (row,) = csv.DictReader(StringIO(one))
    assert json.loads(row["detail"])["name"] == "=cmd()"
    assert run("audit_export", "--format", "jsonl", "--until", "2020-01-01") == ""
